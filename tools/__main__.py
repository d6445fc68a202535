"""`ean VERB ..`: every command of the project by a verb, wherever it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from ean_core import __version__
from ean_core.utils.command_names import spell_as_verbs
from ean_core.utils.errors import EANError, command, nearest
from ean_core.utils.wrapping import MAX_HELP_WIDTH, terminal_width, wrap_help


@dataclass(frozen=True)
class Verb:
    """A command.

    Attributes:
        script: its path in the repository.
        text: what it does, in a line.
    """

    script: str
    text: str

    @property
    def module(self) -> str:
        """The module whose `main` takes the arguments; one that begins with a dot is of this package."""
        return self.script.removeprefix("tools").removesuffix(".py").replace("/", ".")


VERBS = {
    "search": Verb("tools/search.py", "find where attention pays: supernet, search, and a table of retrained networks"),
    "train": Verb("tools/train.py", "train any recipe of any task"),
    "train-cls": Verb("tools/train_cls.py", "train classifiers with given schemes, and compare them"),
    "train-counter": Verb("crowd_counting/train.py", "train a crowd counter"),
    "test": Verb("tools/test.py", "test a classifier or segmentor on its recipe's test images"),
    "test-counter": Verb("crowd_counting/test.py", "test a crowd counter"),
    "predict": Verb("tools/predict.py", "classify images"),
    "count": Verb("crowd_counting/predict.py", "count the people in images or a video"),
    "segment": Verb("segmentation/predict.py", "segment images"),
    "gradcam": Verb("tools/gradcam.py", "show where networks look, and their attention"),
    "demo": Verb("tools/demo.py", "open a local page to try networks on photos"),
    "benchmark": Verb("tools/benchmark.py", "time networks with and without attention"),
    "export": Verb("tools/export.py", "write a network as ONNX, torch.export or safetensors"),
    "trim": Verb("tools/trim.py", "remove the attention calls of a trained network that are not worth their time"),
    "pareto": Verb("tools/pareto.py", "list a search's best trade-offs of accuracy and time"),
    "correlation": Verb("tools/correlation.py", "compare scores on the supernet with training from scratch"),
    "report": Verb("tools/report.py", "make one HTML page of runs and records"),
    "models": Verb("tools/models.py", "list the trained models that come with the project"),
    "prepare crowd": Verb("crowd_counting/prepare.py", "check a crowd data set, or draw a synthetic one"),
    "prepare voc": Verb("segmentation/prepare.py", "download and check Pascal VOC, or draw synthetic shapes"),
}
HELP = ("-h", "--help", "help")


def overview() -> str:
    """The verbs, a line each."""
    lines = [f"  {name}  {verb.text}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: ean VERB [arguments]",
            "",
            "Efficient Attention Network: search where in a network attention pays (arXiv 2011.14058).",
            "",
            *lines,
            "",
            "ean VERB --help shows a command's arguments, with examples; ean --version shows the version.",
        ]
    )


def find_verb(words: Sequence[str]) -> str:
    """The verb that the first words name.

    Raises:
        EANError: for another word, with the verb most like it.
    """
    for count in (2, 1):
        if (name := " ".join(words[:count])) in VERBS:
            return name
    scripts = {verb.script: name for name, verb in VERBS.items()}
    if (script := words[0].removeprefix("./")) in scripts:
        raise EANError(f"ean has no command {words[0]!r}: that script is ean {scripts[script]}")
    followers = [name for name in VERBS if name.split()[0] == words[0]]
    if followers:
        raise EANError(f"ean {words[0]} needs one more word: {', '.join(f'ean {name}' for name in followers)}")
    hint = nearest(words[0], list(VERBS))
    raise EANError(f"ean has no command {words[0]!r}{hint or ': run ean without arguments for the list'}")


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Args:
        argv: the arguments after `ean`; None for those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in HELP:
        print(wrap_help(overview(), width=min(terminal_width(), MAX_HELP_WIDTH)))
        return
    if words[0] == "--version":
        print(f"ean {__version__}")
        return
    name = find_verb(words)
    spell_as_verbs({verb.script: f"ean {key}" for key, verb in VERBS.items()}, package=__package__)
    sys.argv[0] = f"ean {name}"  # what argparse calls the command
    import_module(VERBS[name].module, __package__).main(words[len(name.split()) :])


if __name__ == "__main__":
    main()
