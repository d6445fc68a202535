PYTHON ?= python3
BIN := .venv/bin

.PHONY: help quickstart test lint clean

# The first target, so that it is what `make` alone does.
help:
	@echo "make help         show this list"
	@echo "make quickstart   make .venv, install, and run the whole pipeline on embedded images"
	@echo "make test         make .venv, install with the test tools, and run the tests"
	@echo "make lint         check the style"
	@echo "make clean        remove .venv and what builds leave"
	@echo "PYTHON=python3.12 chooses the Python, for all of them"

quickstart: .venv/installed
	$(BIN)/python tools/search.py --resume

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + ": give one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.py setup.cfg
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

.venv/installed-dev: .venv/bin/python setup.py setup.cfg
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
