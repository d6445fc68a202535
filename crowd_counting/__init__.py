"""Crowd counting: density maps from head points, a counter over the shared residual network, its training and test."""
