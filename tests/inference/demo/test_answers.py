"""What the page of tools/demo.py answers: results, pictures, connections and times, and sentences for bad files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ean_core
from ean_core import EANError
from ean_core.inference.demo import answers
from ean_core.inference.demo.answer_html import answers_html, increment_text, map_html, time_text
from ean_core.inference.demo.answers import answer, read_upload
from ean_core.inference.demo.page import about, answer_upload, by_kind
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.utils.intervals import Interval
from tests.data.test_read_image import png_of
from tests.helpers.tiny_files import tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_ROUNDS", 5)


@pytest.fixture
def classifiers(tiny_arch: str, tmp_path: Path) -> list[LoadedModel]:
    paths = [
        tiny_classifier(tmp_path / "org.pth", None),
        tiny_classifier(tmp_path / "ean.pth", seed=1, classes=["<b>", "bee", "cat", "dog"]),
    ]
    return [load_file(path, device="cpu") for path in paths]


def test_classifiers_beside_each_other(classifiers: list[LoadedModel], photo: Path) -> None:
    first, second = answer(classifiers, Image.open(photo))
    assert (first.name, second.name) == ("org", "ean")
    assert first.bits is None
    assert second.bits == ((1, 1), (0,), (1,))
    for model, found in zip(classifiers, (first, second), strict=True):
        best = ean_core.load(model.path).predict(photo, topk=1)[0]
        assert found.result.startswith(f"{best.name}: {100 * best.probability:.0f} %, ")
        assert found.picture.dtype == np.uint8
        assert found.picture.shape[2] == 3
        assert found.seconds.low <= found.seconds.value <= found.seconds.high
    assert first.increment is None
    assert second.increment is not None


def test_a_counter_says_what_predict_says(tiny_arch: str, tmp_path: Path, photo: Path) -> None:
    path = tiny_counter(tmp_path / "best.pth")
    (found,) = answer([load_file(path, device="cpu")], Image.open(photo))
    count = ean_core.load(path, device="cpu").predict(photo)
    assert re.search(r"^about (-?\d+) (?:person|people)$", found.result)[1] == str(round(count))
    assert found.picture.shape == (40, 50, 3)
    assert not np.array_equal(found.picture, np.asarray(Image.open(photo)))


def test_an_upload_is_answered_and_deleted(classifiers: list[LoadedModel], photo: Path) -> None:
    page = answer_upload(str(photo), classifiers)
    assert not photo.exists()
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert "attention in 3 of 4 blocks" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("torn.png", b"torn", "cannot decode the image torn.png"),
        ("<i>.png", b"", "cannot decode the image &lt;i&gt;.png"),
        ("huge.png", png_of(14_000, 13_000), "the image huge.png has 14000x13000 pixels"),
    ],
)
def test_a_bad_file_gets_a_sentence(
    classifiers: list[LoadedModel], tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    page = answer_upload(str(tmp_path / name), classifiers)
    assert sentence in page
    assert str(tmp_path) not in page
    assert not (tmp_path / name).exists()


def test_a_large_file_is_refused_before_it_is_read(photo: Path) -> None:
    with pytest.raises(EANError, match=r"photo\.png has 0\.0 MB where at most 0 MB are taken"):
        read_upload(photo, max_bytes=100)
    assert not photo.exists()


def test_tabs_are_by_kind_and_shipped_models_say_their_limits(classifiers: list[LoadedModel]) -> None:
    counter = load_file("counter-shanghaitech-a", device="cpu")
    groups = by_kind([*classifiers, counter])
    assert groups == {"counter": [counter], "classifier": classifiers}
    sentence, errors = about(groups["counter"])
    assert "unreliable for few people" in sentence
    assert "by 32.8 (18 %) with 100 to 249 people (62 photos)" in errors
    assert about(classifiers) == []


def test_texts_of_times_and_connections(classifiers: list[LoadedModel], photo: Path) -> None:
    assert time_text(Interval(0.0082, 0.0079, 0.0088)) == "forward pass 8.2 ms (7.9 to 8.8)"
    assert time_text(Interval(1.2, 1.1, 1.3)) == "forward pass 1,200 ms (1,100 to 1,300)"
    assert increment_text(Interval(0.18, 0.12, 0.3), "org") == "18.0 % longer than org (12.0 to 30.0)"
    assert increment_text(Interval(-0.18, -0.3, -0.12), "org") == "18.0 % less than org (12.0 to 30.0)"
    assert increment_text(Interval(0.1, -0.1, 0.3), "org").startswith("no difference in time from org can be shown")
    drawn = map_html([[1, 0], [0]])
    assert (drawn.count("<i"), drawn.count('class="on"')) == (3, 1)
    page = answers_html(answer(classifiers[:1], Image.open(photo)), device=classifiers[0].device)
    assert "took turns" not in page
