"""What `benchmarks/search_landscapes.py` compares. Plain values, so that its --help imports nothing heavy."""

from __future__ import annotations

from typing import Any

SIZES: dict[int, tuple[tuple[int, ...], int]] = {
    9: ((3, 3, 3), 100),
    16: ((3, 4, 6, 3), 300),
    54: ((18, 18, 18), 1000),
}
"""Bits -> blocks per stage (the quickstart's network, ResNet-50, ResNet-164) and evaluations."""

CHECKPOINTS = (10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000)

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "natural": ("ean", {"preset": "natural"}),
    "paper": ("ean", {"preset": "paper"}),
    "released": ("ean", {"preset": "released"}),
    "random": ("random", {}),
    "genetic": ("genetic", {}),
    "genetic-reward": ("genetic", {"objectives": "reward"}),
    "enas": ("enas", {"schemes_per_step": 5}),
    "hsp": ("hsp", {}),
    "head-k": ("head-k", {}),
    "tail-k": ("tail-k", {}),
    # one thing changed at a time; these are run only if they are asked for
    "natural-sampled": ("ean", {"preset": "natural", "memory": 0, "schemes_per_step": 10, "step_size": 0.3}),
    "natural-curiosity-off": ("ean", {"preset": "natural", "curiosity_weight": 0.0}),
    "paper-lr0.01": ("ean", {"learning_rate": 0.01}),
    "paper-lr0.003": ("ean", {"learning_rate": 0.003}),
    "paper-temperature20": ("ean", {"temperature": 20.0}),
    "paper-entropy0.1": ("ean", {"entropy_weight": 0.1}),
    "paper-replay-off": ("ean", {"replay": "off"}),
    "paper-curiosity-off": ("ean", {"curiosity_weight": 0.0}),
    "paper-baseline-off": ("ean", {"baseline_decay": None}),
    "paper-5-a-step": ("ean", {"schemes_per_step": 5}),
}
"""Name -> method and its options."""

MAIN = [name for name in VARIANTS if not name.startswith(("paper-", "natural-"))]

LANDSCAPES = ("additive", "pairs", "noise", "sparse", "rugged")
"""The names of `ean_core.search.reward_landscapes.KINDS`."""
