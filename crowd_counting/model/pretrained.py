"""Weights that a counter starts from, a classifier.pth or torchvision's, and the files that counters are kept in.

Files hold tensors and plain values only and are loaded as such, see `ean_core.networks.checkpoint`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.recipe import ModelRecipe
from ean_core.data.folder import MEAN, STD
from ean_core.io.network_meta import building, check_meta, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.networks import ARCHITECTURES, StagedNetwork, is_timm, stages_blocks, timm_backbone
from ean_core.networks.checkpoint import ModelSpec, read_weights
from ean_core.networks.pretrained import load_torchvision_weights
from ean_core.scheme import as_scheme, read_scheme_file
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of

FORMAT = "ean-counter-1"


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to start from.

    Attributes:
        source: what the user gave; None for random weights.
        state: of a classifier or of torchvision's network.
        spec: of the classifier that it is; None for torchvision's.
        mean, std: of the images the weights were trained with, per channel.
        sha256: of the file; None without one.
    """

    source: str | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    spec: ModelSpec | None = None
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    sha256: str | None = None


def read_start(source: str | None, *, arch: str | None) -> Start:
    """Read the weights that `model.weights` names.

    Args:
        source: a file, "imagenet", or None.
        arch: of the recipe, which says what "imagenet" downloads.

    Raises:
        EANError: if the file is missing, damaged, or holds something else, or the download fails.
    """
    if source is None:
        return Start()
    if source == "imagenet":
        return Start(source, download_imagenet(arch or "resnet50"))
    state, content = read_weights(source, takes="--weights takes a classifier.pth, or torchvision's or timm's weights")
    if content is not None:
        spec = read_spec(ModelSpec, source, content)
        if spec.in_channels != 3:
            raise EANError(f"{source} was trained on images with {spec.in_channels} channel(s): counting needs 3")
        return Start(source, state, spec, *statistics_of(source, content), sha256_of(source))
    return Start(source, state, sha256=sha256_of(source))


def download_imagenet(arch: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights of a network, as the second are from a longer recipe; or timm's."""
    from torchvision.models import get_model_weights

    if is_timm(arch):
        return timm_backbone.download(arch.removeprefix(timm_backbone.PREFIX))
    arch = arch.removesuffix("_nobias")
    if ARCHITECTURES.get(arch, {}).get("stem") != "imagenet":
        raise EANError(
            f"there are no public ImageNet weights of {arch!r}: give --arch resnet50 or another of its family"
        )
    try:
        return get_model_weights(arch)["IMAGENET1K_V1"].get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise EANError(
            f"the ImageNet weights of {arch} cannot be downloaded ({error}): download them elsewhere and give the file"
        ) from None


def make_spec(recipe: ModelRecipe, start: Start) -> CounterSpec:
    """What the recipe leaves open comes from the weights, then from the scheme file, then from the defaults.

    Raises:
        EANError: for an architecture other than the weights', an unknown name, or a scheme of another length.
    """
    given: Any = start.spec
    from_file = isinstance(recipe.scheme, str) and recipe.scheme.endswith(".json")
    record = read_scheme_file(recipe.scheme) if from_file else {}
    if given is not None and recipe.arch not in (None, given.arch):
        raise EANError(f"{start.source} is a {given.arch}, and the recipe asks for {recipe.arch}: give one of the two")
    arch = recipe.arch or (given and given.arch) or record.get("arch") or "resnet50"
    attention = recipe.attention or (given and given.attention) or record.get("attention")
    options = recipe.attention_options or (given.attention_options if given else {})
    sharing = given.sharing if given else "stage"
    scheme = given.scheme if given else None
    blocks = stages_blocks(arch)
    if recipe.scheme == "org":
        attention, options, scheme = None, {}, None
    elif recipe.scheme == "org-full":
        sharing, scheme = "block", None
    elif recipe.scheme is not None:
        sharing, scheme = "stage", as_scheme(recipe.scheme, blocks).text
    if recipe.scheme not in (None, "org") and attention is None:
        raise EANError(
            f"the scheme {recipe.scheme!r} connects attention, and there is none: give --attention se or another"
        )
    return CounterSpec(
        arch=arch,
        attention=attention,
        sharing=sharing,
        scheme=scheme if attention else None,
        attention_options=dict(options),
        features=recipe.features,
        stride=recipe.stride,
        head_channels=recipe.head_channels,
        head_norm=recipe.head_norm,
        output_scale=recipe.output_scale,
    )


def load_start(trunk: StagedNetwork, start: Start) -> str:
    """Copy the start's weights into a trunk; gives a line that says what was done.

    Raises:
        EANError: if they do not fit; nothing is changed then.
    """
    if start.source is None:
        return "random weights: give --weights imagenet, or a classifier.pth, for results worth having"
    if start.spec is None:
        report = load_torchvision_weights(trunk, start.state)
        return f"{start.source}: {dataclasses.replace(report, unused=())}"
    own = trunk.state_dict()
    wrong = [name for name, value in own.items() if start.state.get(name, torch.empty(0)).shape != value.shape]
    if wrong:
        raise EANError(
            f"{start.source} does not fit this counter: {len(wrong)} tensors are missing or differ in shape, the first "
            f"is {wrong[0]}; leave --attention and --scheme to the checkpoint, or give those it was trained with"
        )
    trunk.load_state_dict({name: start.state[name] for name in own})
    return f"{start.source}: {len(own)} tensors loaded"


# -- counter files ----------------------------------------------------------------------------------------------------


def save_counter(path: Path, counter: Counter, spec: CounterSpec, **info: Any) -> None:
    """Write a counter file, atomically.

    Args:
        path: a .pth file.
        counter: on any device.
        spec: what builds it.
        info: plain values: mean, std, epoch, recipe, validation.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in counter.state_dict().items()}
    write_pth(path, {"format": FORMAT, "model": dataclasses.asdict(spec), "state_dict": weights, **info})


def statistics_of(path: str | Path, content: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation, per channel, of the images that a file's network was trained on.

    Raises:
        EANError: if the file does not say them, or they are damaged.
    """
    meta = check_meta(path, content)
    if meta.mean is None or meta.std is None:
        raise EANError(f"{path} does not say mean and std of its images, so that no photo fits: train it again")
    return meta.mean, meta.std


def load_counter(path: str | Path) -> tuple[Counter, dict[str, Any]]:
    """Build a file's counter and load its weights.

    Returns:
        the counter in eval mode, and the file's other content.

    Raises:
        EANError: if the file is missing, damaged, of another kind, or its weights do not fit.
    """
    if Path(path).name == "last.pth":  # beside the counters, and soon given by mistake
        raise EANError(f"{path} is the state that --resume goes on from, not a counter: give a best.pth or final.pth")
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        is_a = f"a file of format {found!r}" if found else "another kind of file"
        raise EANError(f"{path} is {is_a}, not a counter: give a best.pth or final.pth of crowd_counting/train.py")
    return build_counter_of(path, content), content


def build_counter_of(path: str | Path, content: dict[str, Any]) -> Counter:
    """The counter of a file's content in eval mode; its weights are taken out of the content.

    Raises:
        EANError: if weights and counter do not belong together.
    """
    spec = read_spec(CounterSpec, path, content)
    check_meta(path, content)
    with building(path):
        counter = spec.build()
    try:
        counter.load_state_dict(content.pop("state_dict"))
    except (RuntimeError, KeyError) as error:
        first = str(error).splitlines()[-1].strip()
        raise EANError(f"the weights in {path} do not fit the counter it names ({first}): train it again") from None
    return counter.eval()
