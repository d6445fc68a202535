"""Around the backbone: a segmentor as a plain network for export, and mixed precision on CPUs.

The backbone itself is in `segmentation/backbone.py`, the path that mmsegmentation configs import.
"""
