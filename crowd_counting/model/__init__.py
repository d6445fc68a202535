"""The counter over the shared residual network, its training model and losses, counting in tiles, its weights.

Data and density maps stay outside; commands are at the top of `crowd_counting`.
"""
