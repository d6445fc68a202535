"""Semantic segmentation through mmsegmentation, with `EANResNet` (`backbone.py`) as the backbone.

The commands and the job behind them; VOC and what checks it are in `data/`, what surrounds the backbone in `model/`.
"""

FORMAT = "ean-segmentor-1"
"""The entry "format" of an exported segmentor's weights."""

SEGMENTOR_FILES = ("segmentor.pth", "supernet.pth")
"""Names of the files of that format which a search writes."""
