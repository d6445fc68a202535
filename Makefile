# make quickstart   make a .venv, install, and run the whole pipeline on embedded images
# make test         make a .venv, install with the test tools, and run the tests
# make lint         check the style
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test lint clean

quickstart: .venv/installed
	$(BIN)/python tools/search.py --resume

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + ": give one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

.venv/installed-dev: .venv/bin/python setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
