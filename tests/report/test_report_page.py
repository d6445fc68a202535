"""The HTML page: one file, no network, nothing unescaped, one script; in a browser no error, no sideways scrolling."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ean_core import EANError
from ean_core.io.records import write_record
from ean_core.report import html_report
from ean_core.report.html_script import POLICY, SCRIPT
from ean_core.report.results import visible
from ean_core.report.run_folders import find_records
from ean_core.report.training_curves import draw, network_of, read_curves
from ean_core.utils.shipped_files import SCHEMES
from tests.conftest import ROOT, Run, Script
from tests.helpers import report_records as made

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE = """
var failed = [];
addEventListener("error", event => failed.push(String(event.message || event.target.src).slice(0, 200)), true);
addEventListener("load", () => {
  var out = document.createElement("meta"), root = document.documentElement;
  out.id = "probe";
  out.content = btoa(JSON.stringify({
    width: innerWidth, room: root.clientWidth, scroll: root.scrollWidth, failed: failed,
    sortable: document.querySelectorAll("thead button").length,
    pictures: [...document.images].map(one => one.naturalWidth),
    wide: [...document.querySelectorAll("section *, header *, nav *")]
      .filter(one => !one.closest(".scroll, pre") && one.getBoundingClientRect().right > root.clientWidth + 1)
      .map(one => one.outerHTML.slice(0, 90))}));
  parent.document.head.append(out);
});
"""
VOID = {"meta", "link", "img", "br"}
PICTURES = 12
"""Figure 1: 3; the searches side by side: 4; the curves, the front, a count, Grad-CAM, and a lonely one."""


class Page(HTMLParser):
    """What the checks need of a page, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)
        self.targets += [attributes[name] for name in ("href", "src") if name in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def check_page(text: str) -> Page:
    """All that can be seen without a browser."""
    found = Page(text)
    assert len(set(found.ids)) == len(found.ids), "an id is there twice"
    assert text.count("<script") == found.tags.count("script") == 1
    assert f"<script>{SCRIPT}</script>" in text
    assert f'content="{escape(POLICY)}"' in text
    assert not {"iframe", "object", "embed", "form"} & set(found.tags)
    for target in found.targets:
        assert target.startswith("data:") or (target.startswith("#") and target[1:] in found.ids), target[:80]
    assert not re.search(r"url\(|@import|https?://", text.split("</style>")[0] + SCRIPT)
    for image in found.images:
        head, _, content = image["src"].partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
            picture.load()
            assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
        assert len(image["alt"]) > 8
    return found


def test_every_kind_of_record_is_on_the_page(tmp_path: Path) -> None:
    text = html_report(made.every_kind(tmp_path / "results"))
    page = check_page(text)
    assert len(page.images) == PICTURES
    for number in range(1, 6):
        assert f"Table {number}" in text
    assert "No record yet:" in text
    assert 'class="none"' in text
    assert 'aria-label="stage 1: ' in text  # the shipped schemes
    assert '40.50<span class="spread"> ± 0.50</span>' in text
    for name in ("run.json", "strange.json"):
        assert text.count(f">{name} <span>") == 1


def test_what_comes_from_files_is_escaped(tmp_path: Path) -> None:
    directory = made.new_directory(tmp_path / "results")
    evil = "<script>alert(1)</script>\"'&`"
    made.pipeline(directory / "evil<img src=x>.json", name=evil, data=evil)
    write_record(directory / "strange.json", kind="<b>", settings={"<script>": "&"}, metrics={})
    made.picture(directory / 'odd" onerror="x.png')
    text = html_report(directory)
    check_page(text)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<span>&lt;b&gt;, " in text
    assert "onerror=&quot;x" in text


def test_the_committed_records_make_a_sound_page_with_the_schemes() -> None:
    text = html_report(ROOT / "results")
    check_page(text)
    assert 'aria-label="stage 1: 001100100101110101; stage 2: 001100000111001111; stage 3: 101100000111110001"' in text
    assert len(re.findall('<div class="map">', text)) == len(list(SCHEMES.glob("*.json")))


def test_what_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    directory = made.new_directory(tmp_path / "results")
    (directory / "lonely.png").write_text("no picture")
    with pytest.raises(EANError, match=r"picture .*lonely\.png cannot be read"):
        html_report(directory)
    (directory / "lonely.png").unlink()
    content = json.loads(made.comparison(directory / "compared.json").read_text())
    del content["metrics"]["runs"][0]["curve"]
    (directory / "compared.json").write_text(json.dumps(content))
    with pytest.raises(EANError, match=r"compared\.json .* lacks .*'curve'"):
        html_report(directory)


def test_run_folders_are_shown_with_their_curves_scheme_and_records(run_here: Run, tmp_path: Path) -> None:
    made.new_directory(tmp_path / "results")
    folder = tmp_path / "work_dirs" / "mine"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "results" / "ean_se_r29_cifar100_subset20k_10ep.history.jsonl", folder / "history.jsonl")
    shutil.copy(SCHEMES / "ean_se_resnet29_cifar100_subset20k.json", folder / "scheme.json")
    summary = made.pipeline(folder / "summary.json", name="my run", seeds=1)
    sentence = "EAN - Org: +1 points (95 % interval -1 to 3): cannot be told"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "comparisons": [sentence]}))
    for name in ("supernet", "org-seed0"):
        log = folder / name / "20260101_000000" / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        log.write_text('{"loss": 2.0, "step": 20}\n{"loss": 0.5, "step": 40}\n{"top1": 50.0, "step": 1}\n{"loss": 0.')
    assert "page.html written" in run_here("tools/report.py", "--html", "page.html", folder).stdout
    text = (tmp_path / "page.html").read_text()
    check_page(text)
    section = text.partition('<section id="run-1">')[2].partition("</section>")[0]
    assert "<h2>CIFAR-100, ResNet-29 with SE, 20,000 training images, 3 epochs</h2>" in section
    assert (
        "200 schemes drawn, 27 different ones scored. The scheme was first scored at evaluation 6, in step 6."
        in section
    )
    assert section.index("<h3>Verdict</h3>") < section.index("<table>")
    assert "<li>EAN - Org: +1 points (95 % interval -1 to 3): <b>cannot be told</b></li>" in section
    assert section.count("cannot be told") == 1
    assert "training loss by step of org-seed0, supernet" in section
    assert 'aria-label="stage 1: 010; stage 2: 100; stage 3: 101"' in section
    assert "recipe <code>my run</code>" in section
    assert "mine/summary.json" in section
    alone = html_report(tmp_path / "results", [folder], only=True)
    check_page(alone)
    assert "Table 1" not in alone
    assert "mine/summary.json" in alone


def test_losses_are_read_from_all_logs_of_a_training(tmp_path: Path) -> None:
    for start, lines in (("1", [(20, 2.0), (40, 1.0)]), ("2", [(40, 0.9), (60, 0.5)])):
        log = tmp_path / "org-seed0" / start / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        damaged = f'{{"step": 1e999, "loss": 1}}\n{{"step": 9, "loss": 1{"0" * 400}}}\n[1]\n{{"step": 9, "lo'
        log.write_text("".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in lines) + damaged)
    assert read_curves(tmp_path) == {"org-seed0": {20: 2.0, 40: 0.9, 60: 0.5}}  # what was repeated counts
    assert read_curves(tmp_path / "org-seed0") == {"org-seed0": {20: 2.0, 40: 0.9, 60: 0.5}}
    assert [network_of(name) for name in ("share-full-seed1", "ean-95b4f5-seed0", "seed0")] == [
        "Share-full",
        "EAN",
        "seed0",
    ]
    assert draw(read_curves(tmp_path)).startswith(b"\x89PNG")


def test_pictures_in_a_records_own_folder_are_shown_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made.comparison(folder / "comparison" / "comparison.json")
    for name in ("comparison", "figure4", "figure5", "schemes"):
        made.picture(folder / "comparison" / f"{name}.png")
    for shown in (folder, folder / "comparison"):
        text = html_report(made.new_directory(tmp_path / f"results_{shown.name}"), [shown])
        pictures = text.partition('<section id="run-1"')[2].partition("</section>")[0].count("<img ")
        assert pictures == 4


def test_networks_trained_one_by_one_are_shown_where_there_is_no_summary(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for seed in (0, 1):
        metrics = {"top1": 41.5 + seed, "top5": 70.0, "parameters": 1234, "connections": 4}
        write_record(folder / f"ean-seed{seed}" / "result.json", kind="train", settings={}, metrics=metrics)
    text = html_report(made.new_directory(tmp_path / "results"), [folder])
    assert '<th scope="row">ean-seed1</th><td>42.50</td><td>70.00</td><td>1,234</td><td>4</td>' in text


def test_bad_input_is_one_sentence_and_overwrites_nothing(
    tmp_path: Path, script: Script, capsys: pytest.CaptureFixture
) -> None:
    results = made.new_directory(tmp_path / "results")
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    shutil.copy(SCHEMES / "ean_se_resnet29_cifar100_subset20k.json", damaged / "scheme.json")
    (damaged / "history.jsonl").write_text('{"step": 1, "bi\n')
    for folder, said in ((damaged, r"history\.jsonl, line 1, cannot be read"), (tmp_path / "empty", "nothing to show")):
        with pytest.raises(EANError, match=said):
            html_report(results, [folder])
    for arguments, said in (
        (("--html", "page.txt"), "the file to write ends with .html, got 'page.txt'"),
        (("empty",), "give --html FILE"),
        (("--html", "page.html", "--only"), "--only shows run folders alone"),
        (("--html", "page.html", "none"), "run folder none does not exist"),
    ):
        assert script("tools/report.py", *arguments) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium on the PATH")
def test_a_browser_shows_the_page_on_a_phone_without_errors(tmp_path: Path) -> None:
    text = html_report(made.every_kind(tmp_path / "results"))
    path = tmp_path / "page.html"  # in a frame, since the browser's own window is never narrower than 500 pixels
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    text = text.replace(escape(POLICY), escape(f"{POLICY} 'sha256-{digest}'"))  # the page's policy allows no other
    inner = escape(text.replace("<title>", f"<script>{PROBE}</script><title>"))
    path.write_text(f'<!doctype html><iframe srcdoc="{inner}" style="width: 380px; height: 800px; border: 0"></iframe>')
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    done = subprocess.run(
        [
            str(BROWSER),
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=380,800",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    match = re.search('id="probe" content="([^"]+)"', done.stdout)
    assert match, done.stderr[-2000:]
    seen = json.loads(base64.b64decode(match[1]))
    assert seen["width"] == 380
    assert seen["scroll"] <= seen["room"], seen["wide"]  # room: without the bar for scrolling down
    assert seen["wide"] == []
    assert seen["sortable"] > 20, "the page's script runs under its policy"
    assert seen["failed"] == []
    assert len(seen["pictures"]) == PICTURES
    assert min(seen["pictures"]) > 0
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]


def test_what_killed_runs_left_is_neither_a_record_nor_a_picture(tmp_path: Path) -> None:
    made.pipeline(tmp_path / "results" / "a.json")
    (tmp_path / "results" / ".a.json.x1.tmp.json").write_text('{"format": "ean-rec')
    (tmp_path / "results" / ".a.png.x1.tmp.png").write_bytes(b"\x89PN")
    (tmp_path / "results" / ".hidden").mkdir()
    (tmp_path / "results" / ".hidden" / "a.png").write_bytes(b"\x89PN")
    (tmp_path / "results" / "folder.json").mkdir()
    os.mkfifo(tmp_path / "results" / "pipe.png")  # reading it would never end
    assert [path.name for path in visible(tmp_path / "results", "**/*.json")] == ["a.json"]
    assert not visible(tmp_path / "results", "**/*.png")
    assert find_records(tmp_path / "results")[0].pictures == ()
