"""What surrounds the backbone in a segmentor: logits for export, precision, and weights to start from.

The backbone itself is `segmentation/backbone.py`, the path that mmsegmentation configs import.
"""
