"""Crowd counting: density maps from head points, and a counter over the shared residual network.

The commands (prepare, train, test, predict) are at the top; data loading is in `data/`, the network in `model/`.
"""
