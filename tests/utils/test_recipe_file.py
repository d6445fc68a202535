"""Recipes of data run nothing, and a recipe that is written for a folder's name runs nothing that the name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from classification.recipe import Recipe
from classification.recommend import as_text
from crowd_counting.recipe import Recipe as CountingRecipe
from ean_core.utils.errors import EANError
from ean_core.utils.recipe_file import read_recipe_file

YAML = """
model: {arch: resnet20, attention: se}
data: {name: digits}
train: {epochs: 3, lr: 0.05}
"""


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_recipe_of_yaml(tmp_path: Path, bom: str) -> None:
    (tmp_path / "r.yaml").write_text(bom + YAML, encoding="utf-8")
    recipe = Recipe.from_file(tmp_path / "r.yaml", {"train.lr": 0.1})
    assert (recipe.name, recipe.model.arch, recipe.train.epochs, recipe.train.lr) == ("r", "resnet20", 3, 0.1)


@pytest.mark.parametrize(
    "evil",
    [
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['MARKER']]",
        "!!python/object/new:type {args: [x, [], {}]}",
        "!!python/name:os.system",
    ],
)
@pytest.mark.parametrize("read", [Recipe.from_file, CountingRecipe.read])
def test_yaml_runs_nothing(tmp_path: Path, evil: str, read) -> None:
    (tmp_path / "r.yaml").write_text(f"{YAML}more: {evil.replace('MARKER', str(tmp_path / 'ran'))}\n")
    with pytest.raises(EANError, match="r.yaml cannot be read as yaml"):
        read(tmp_path / "r.yaml", {})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("_base_: evil.py", "has _base_, but a .yaml recipe cannot run code"),
        ("custom_imports: {imports: [evil]}", "has custom_imports"),
        ("model: {attention: 'evil.py:Gate'}", "names the class evil.py:Gate"),
        ("model: {attention: 'evil:Gate'}", "names the class evil:Gate"),
        ("a: &x [1]\nb: *x", "has aliases"),
        ("[1, 2]", "has no sections"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than 50"),
        ("a: [", "cannot be read as yaml"),
        ("train: {epochs: 1, lr: 1, epochs: 2}", "gives 'epochs' twice in one section"),
        ("a: [{b: {c: 1, c: 1}}]", "gives 'c' twice in one section"),
    ],
)
def test_what_yaml_may_not_say(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(EANError, match=sentence):
        read_recipe_file(tmp_path / "r.yaml")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "a\nopen('ran', 'w')\n#",
        "a\ropen('ran', 'w')\r#",
        "a\x0copen('ran', 'w')",
        "a\u2028open('ran', 'w')",
        "'+str(open('ran','w'))+'",
        """{{$EAN_NOT_SET:'+str(open("ran",'w'))+'}}""",
        """{{'$EAN_NOT_SET:x'}}";open('ran',"w")#""",
    ],
)
def test_a_folders_name_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.py").write_text(as_text({"name": name, "model": {"arch": name}}, comment=f"images of {name}"))
    values = read_recipe_file(tmp_path / "recipe.py")
    assert (values["name"], values["model"]["arch"]) == (name, name)
    assert not (tmp_path / "ran").exists()
