"""Eq. 9: how long networks and single connections take, measured with the one clock of this project (`timing.py`).

Timers, the latency table that a search may use, and the comparison behind `tools/benchmark.py`. The faster modes of a
network are in `ean_core/deploy`, and the scripts that time this project itself in `benchmarks/`.
"""
