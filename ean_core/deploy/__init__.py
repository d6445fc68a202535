"""Everything for networks that are done training: folding, inference stages, compiling, CUDA graphs, kernels.

What changes how a trained network runs, and not what it computes, belongs here. Nothing here is trained, and no module
of `ean_core.attention` or `ean_core.networks` knows of it.
"""
