"""Reading and writing counter files.

They contain only tensors and plain values, and are loaded as such; see `ean_core.io.safe_load`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from crowd_counting.model.network import Counter, CounterSpec
from ean_core.io.network_meta import building, check_meta, load_strictly, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.networks.network_file import check_finite
from ean_core.utils.errors import EANError

FORMAT = "ean-counter-1"


def save_counter(path: Path, counter: Counter, spec: CounterSpec, **info: Any) -> None:
    """Write a counter file atomically.

    Args:
        path: the .pth file to write.
        counter: counter on any device.
        spec: specification that builds it.
        info: plain values to store: mean, std, epoch, recipe, validation.

    Raises:
        EANError: if a weight is not finite; an existing file stays unchanged.
    """
    check_finite(counter, path)
    weights = counter.state_dict()  # modified in place, since it carries the scheme
    for name, value in weights.items():
        weights[name] = value.detach().cpu().contiguous()
    write_pth(path, {"format": FORMAT, "model": dataclasses.asdict(spec), "state_dict": weights, **info})


def normalization_of(path: str | Path, content: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation of the images that a file's network was trained on.

    Raises:
        EANError: if the file lacks them, or they are damaged.
    """
    meta = check_meta(path, content)
    if meta.mean is None or meta.std is None:
        raise EANError(
            f"{path} lacks the mean and std of its images, so that no image can be normalized: train it again"
        )
    return meta.mean, meta.std


def load_counter(path: str | Path) -> tuple[Counter, dict[str, Any]]:
    """Load a counter file.

    Returns:
        the counter in eval mode, and the file's other content.

    Raises:
        EANError: if the file is missing, damaged or of another kind, or its weights do not fit.
    """
    if Path(path).name == "last.pth":  # next to the counters, and easily given by mistake
        raise EANError(f"{path} is the training state for --resume, not a counter: give a best.pth or final.pth")
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        form = content.get("format") if isinstance(content, dict) else None
        is_a = f"a file of format {form!r}" if form else "another kind of file"
        raise EANError(f"{path} is {is_a}, not a counter: give a best.pth or final.pth of crowd_counting/train.py")
    return counter_from_content(path, content), content


def counter_from_content(path: str | Path, content: dict[str, Any]) -> Counter:
    """Build the counter of a file's content in eval mode; its weights are removed from the content.

    Raises:
        EANError: if the weights do not fit the counter.
    """
    spec = read_spec(CounterSpec, path, content)
    check_meta(path, content)
    with building(path):
        counter = spec.build()
    weights = content.pop("state_dict")
    load_strictly(counter, weights, path=path, what="the counter it names", advice="train it again")
    return counter.eval()
