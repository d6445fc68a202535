"""Semantic segmentation: this project's network as a backbone of mmsegmentation, Pascal VOC, and the commands.

The segmentor, its head and its losses are mmsegmentation's; what is built here is the backbone and what goes around it.
"""

FORMAT = "ean-segmentor-1"
"""The entry "format" of an exported segmentor's weights."""
