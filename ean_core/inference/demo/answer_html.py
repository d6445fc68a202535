"""Answers and errors as HTML that needs no other file: pictures are in it, and every text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import torch

from ean_core.inference.demo.answers import Answer
from ean_core.utils.errors import legible
from ean_core.utils.intervals import Interval
from ean_core.utils.text import how_many

LONGEST = 1024
"""Pixels of a picture's longer side."""

STYLE = """\
.ean-answers { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
.ean-answers figure { margin: 0; min-width: 0; max-width: 46rem; }
.ean-answers h3 { margin: 0; overflow-wrap: anywhere; }
.ean-answers img { width: 100%; max-height: 34rem; object-fit: contain; object-position: left top; border-radius: 6px;
  margin: .5rem 0; }
.ean-answers p, .ean-note, .ean-about { margin: .25rem 0; line-height: 1.45; }
.ean-result { font-size: 1.1rem; font-weight: 650; }
.ean-soft, .ean-note, .ean-about { opacity: .75; font-size: .9rem; max-width: 46rem; }
.ean-answers + .ean-note { margin-top: 1rem; }
.ean-map { display: flex; flex-wrap: wrap; gap: .3rem .8rem; margin: .4rem 0; }
.ean-map span { display: inline-flex; flex-wrap: wrap; gap: 2px; }
.ean-map i { width: .8rem; height: .8rem; border-radius: 2px; border: 1px solid #7a8594; }
.ean-map i.on { background: #0072b2; border-color: #0072b2; }
.dark .ean-map i.on { background: #56b4e9; border-color: #56b4e9; }
.ean-error { border-left: 4px solid #c8402b; padding: .6rem .9rem; }
"""


def answers_html(answers: Sequence[Answer], *, device: torch.device) -> str:
    """Answers beside each other, or below each other on a narrow page."""
    figures = "".join(figure_html(answer, reference=answers[0].name) for answer in answers)
    where = (
        f"this CPU with {how_many(torch.get_num_threads(), 'thread')}"
        if device.type == "cpu"
        else f"the GPU ({device})"
    )
    turns = " The networks took turns." if len(answers) > 1 else ""
    note = f"Times are of this photo alone on {where}: the median and its 95 % interval.{turns}"
    return f'<div class="ean-answers">{figures}</div><p class="ean-note">{escape(note)}</p>'


def figure_html(answer: Answer, *, reference: str) -> str:
    """One network's answer: name, result, picture, connections and time."""
    lines = [
        f'<h3>{text(answer.name)}</h3><p class="ean-soft">{text(answer.network)}</p>',
        f'<img alt="{text(answer.result)}" src="{data_url(answer.picture)}">',
        f'<p class="ean-result">{text(answer.result)}</p>',
        map_html(answer.bits) if answer.bits is not None else "",
        f'<p class="ean-soft">{escape(time_text(answer.seconds))}</p>',
    ]
    if answer.increment is not None:
        lines.append(f'<p class="ean-soft">{text(increment_text(answer.increment, reference))}</p>')
    return f"<figure>{''.join(lines)}</figure>"


def map_html(bits: Sequence[Sequence[int]]) -> str:
    """The connection map: a square per block, filled where it is connected to attention, grouped by stage."""
    stages = ["".join('<i class="on"></i>' if bit else "<i></i>" for bit in stage) for stage in bits]
    connected, blocks = sum(map(sum, bits)), sum(map(len, bits))
    label = f"attention in {connected} of {how_many(blocks, 'block')}"
    groups = "".join(f"<span>{stage}</span>" for stage in stages)
    return f'<div class="ean-map" role="img" aria-label="{label}">{groups}</div><p class="ean-soft">{label}</p>'


def time_text(seconds: Interval) -> str:
    """A time with its interval: "forward pass 8.2 ms (7.9 to 8.8)"."""
    value = seconds.scaled(1000)
    places = 1 if value.value < 100 else 0
    return f"forward pass {value.value:,.{places}f} ms ({value.low:,.{places}f} to {value.high:,.{places}f})"


def increment_text(increment: Interval, reference: str) -> str:
    """How much longer a forward pass takes than the reference's, or that no difference can be shown."""
    percent = increment.scaled(100)
    if not percent.low > 0 and not percent.high < 0:
        return f"no difference in time from {reference} can be shown ({percent.low:+.1f} to {percent.high:+.1f} %)"
    sign, word = (1, "longer") if percent.value > 0 else (-1, "less")
    low, high = sorted((sign * percent.low, sign * percent.high))
    return f"{sign * percent.value:.1f} % {word} than {reference} ({low:.1f} to {high:.1f})"


def error_html(error: Exception) -> str:
    """A sentence that says what is wrong with a photo."""
    return f'<div class="ean-error" role="alert">{text(str(error))}</div>'


def about_html(sentences: Sequence[str]) -> str:
    """What a user must know of the networks of a tab."""
    return "".join(f'<p class="ean-about">{text(line)}</p>' for line in sentences)


def text(value: str) -> str:
    """A name or sentence that is safe in HTML, whatever a file's or a class's name holds."""
    return escape(legible(value))


def data_url(picture: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3), as a JPEG within the page; reduced to `LONGEST` pixels a side."""
    scale = min(1.0, LONGEST / max(picture.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
