"""Weights that a counter starts from, and the files that counters are kept in.

Files hold tensors and plain values only and are loaded as such, see `ean_core.io.safe_load`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.recipe import ModelRecipe
from ean_core.data.folder import MEAN, STD
from ean_core.io.network_meta import building, check_meta, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.networks import StagedNetwork, stages_blocks
from ean_core.networks.checkpoint import check_finite
from ean_core.networks.pretrained import check_arch, load_weights
from ean_core.networks.weights_file import TrunkSpec, Weights, read_weights, weights_identity
from ean_core.scheme import as_scheme, read_scheme_file
from ean_core.utils.errors import EANError

FORMAT = "ean-counter-1"


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to start from.

    Attributes:
        weights: None for random ones.
        identity: tells these weights from others.
        mean, std: of the images the weights were trained with, per channel; ImageNet's for public ones.
    """

    weights: Weights | None = None
    identity: str | None = None
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @property
    def source(self) -> str | None:
        """What the user gave; None for random weights."""
        return None if self.weights is None else self.weights.source

    @property
    def spec(self) -> TrunkSpec | None:
        """Of the network in a file of ours; None for public weights."""
        return None if self.weights is None else self.weights.spec


def read_start(source: str | None, *, arch: str | None) -> Start:
    """Read the weights that `model.weights` names.

    Args:
        source: as `ean_core.networks.weights_file.read_weights`; None for random weights.
        arch: of the recipe, which says what "imagenet" downloads.

    Raises:
        EANError: if the weights cannot be had, are damaged, or are something else.
    """
    if source is None:
        return Start()
    arch = arch or "resnet50"
    weights = read_weights(source, arch=arch)
    return Start(weights, weights_identity(source, arch=arch), *(weights.normalization or (MEAN, STD)))


def make_spec(recipe: ModelRecipe, start: Start) -> CounterSpec:
    """What the recipe leaves open comes from the weights, then from the scheme file, then from the defaults.

    Raises:
        EANError: for an architecture other than the weights', an unknown name, or a scheme of another length.
    """
    given = start.spec
    from_file = isinstance(recipe.scheme, str) and recipe.scheme.endswith(".json")
    record = read_scheme_file(recipe.scheme) if from_file else {}
    if start.weights is not None and recipe.arch is not None:
        check_arch(start.weights, recipe.arch)
    arch = recipe.arch or (given and given.arch) or record.get("arch") or "resnet50"
    attention = recipe.attention or (given and given.attention) or record.get("attention")
    same = given is not None and given.attention == attention
    options = recipe.attention_options or (given.attention_options if given is not None and same else {})
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


def load_start(trunk: StagedNetwork, start: Start, spec: CounterSpec) -> str:
    """Copy the start's weights into a trunk that `spec` built; gives a line that says what was done.

    Raises:
        EANError: if they do not fit; nothing is changed then.
    """
    if start.weights is None:
        return "random weights: give --weights imagenet, or a classifier.pth, for results worth having"
    fields = {one.name: getattr(spec, one.name) for one in dataclasses.fields(TrunkSpec) if hasattr(spec, one.name)}
    return str(load_weights(trunk, start.weights, spec=TrunkSpec(**fields)))


# -- counter files ----------------------------------------------------------------------------------------------------


def save_counter(path: Path, counter: Counter, spec: CounterSpec, **info: Any) -> None:
    """Write a counter file, atomically.

    Args:
        path: a .pth file.
        counter: on any device.
        spec: what builds it.
        info: plain values: mean, std, epoch, recipe, validation.

    Raises:
        EANError: if a weight is not finite; a file that is there already stays.
    """
    check_finite(counter, path)
    weights = counter.state_dict()  # filled again in place: it knows the scheme
    for name, value in weights.items():
        weights[name] = value.detach().cpu().contiguous()
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
        raise EANError(f"{path} is the state for resuming a run, not a counter: give a best.pth or final.pth")
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
