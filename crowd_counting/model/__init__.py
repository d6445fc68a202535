"""The counting network, its losses, its wrapper for training, tiled inference and its weight files.

Data and density maps belong elsewhere; the commands are at the top of `crowd_counting`.
"""
