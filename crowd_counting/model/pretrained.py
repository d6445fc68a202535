"""The initial weights of a counter, and the specification that they and the recipe decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crowd_counting.model.network import CounterSpec
from crowd_counting.recipe import ModelRecipe
from ean_core.data.folder import MEAN, STD
from ean_core.io.scheme_record import read_scheme_file
from ean_core.networks import StagedNetwork, stages_blocks
from ean_core.networks.pretrained import check_arch, load_weights
from ean_core.networks.weights_file import FileSpec, Weights, read_weights, weights_identity
from ean_core.scheme import Scheme, as_scheme_of_first_stages, check_attention, scheme_file
from ean_core.utils.errors import EANError


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """The weights that training starts from.

    Attributes:
        weights: None for random weights.
        identity: a string that identifies these weights.
        mean, std: per channel, of the images the weights were trained on; ImageNet's for public weights.
    """

    weights: Weights | None = None
    identity: str | None = None
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @property
    def source(self) -> str | None:
        """The source as given by the user; None for random weights."""
        return None if self.weights is None else self.weights.source

    @property
    def spec(self) -> FileSpec | None:
        """Specification of the trunk in a file of this project; None for public weights."""
        return None if self.weights is None else self.weights.spec


def read_initial_weights(source: str | None, *, arch: str | None) -> InitialWeights:
    """Read the weights that `model.weights` names.

    Args:
        source: as for `ean_core.networks.weights_file.read_weights`; None for random weights.
        arch: the recipe's architecture, which decides what "imagenet" downloads.

    Raises:
        EANError: if the weights are unavailable, damaged, or not weights.
    """
    if source is None:
        return InitialWeights()
    arch = arch or "resnet50"
    weights = read_weights(source, arch=arch)
    return InitialWeights(weights, weights_identity(source, arch=arch), *(weights.normalization or (MEAN, STD)))


def make_spec(recipe: ModelRecipe, initial: InitialWeights) -> CounterSpec:
    """Resolve the counter's specification: from the recipe, then the weights, the scheme file and the defaults.

    Raises:
        EANError: for an architecture that differs from the weights', an unknown name, or a scheme of the wrong length.
    """
    weights_spec = initial.spec
    file = scheme_file(recipe.scheme)
    record = {} if file is None else read_scheme_file(file)
    if initial.weights is not None and recipe.arch is not None:
        check_arch(initial.weights, recipe.arch)
    arch = recipe.arch or (weights_spec and weights_spec.arch) or record.get("arch") or "resnet50"
    attention = recipe.attention or (weights_spec and weights_spec.attention) or record.get("attention")
    same_attention = weights_spec is not None and weights_spec.attention == attention
    options = recipe.attention_options or (
        weights_spec.attention_options if weights_spec is not None and same_attention else {}
    )
    sharing = weights_spec.sharing if weights_spec else "stage"
    scheme = weights_spec.scheme if weights_spec else None
    blocks = stages_blocks(arch)
    if recipe.scheme == "org":
        attention, options, scheme = None, {}, None
    elif recipe.scheme == "org-full":
        sharing, scheme = "block", None
    elif recipe.scheme is not None:
        sharing, scheme = "stage", scheme_of(recipe, arch, blocks).text
    if recipe.scheme not in (None, "org") and attention is None:
        raise EANError(
            f"the scheme {recipe.scheme!r} connects attention, but none is given: add --attention se or another"
        )
    check_attention(recipe.scheme, attention)
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
        zero_inflated=recipe.zero_inflated,
    )


def check_scheme(recipe: ModelRecipe) -> None:
    """Refuse a scheme that does not fit, before any image is read; of what only the weights say, `make_spec` judges.

    Raises:
        EANError: as `make_spec`.
    """
    if recipe.weights is None:
        make_spec(recipe, InitialWeights())
    elif recipe.arch is not None and recipe.scheme is not None:
        scheme_of(recipe, recipe.arch, stages_blocks(recipe.arch))


def scheme_of(recipe: ModelRecipe, arch: str, blocks: Sequence[int]) -> Scheme:
    """The recipe's scheme over all stages of the architecture.

    Raises:
        EANError: if it is neither for all stages nor for those that the counter has.
    """
    layout = {"features": recipe.features, "stride": recipe.stride, "head_channels": recipe.head_channels}
    stages = len(CounterSpec(arch, **layout).build().stages)
    return as_scheme_of_first_stages(recipe.scheme, blocks, stages=stages)


def load_initial_weights(trunk: StagedNetwork, initial: InitialWeights, spec: CounterSpec) -> str:
    """Copy the initial weights into a trunk built by `spec`; return a line that says what was loaded.

    Raises:
        EANError: if they do not fit; the trunk is unchanged then.
    """
    if initial.weights is None:
        return "random weights: give --weights imagenet, or a classifier.pth, for useful accuracy"
    return str(load_weights(trunk, initial.weights, spec=spec))
