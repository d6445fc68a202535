"""Images and head points to batches: ShanghaiTech, points files, the train/validation split, crops, cached maps.

Density maps themselves are defined in `crowd_counting/density.py`, networks in `crowd_counting/model`.
"""
