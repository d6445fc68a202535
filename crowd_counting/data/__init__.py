"""Head points and photos: ShanghaiTech, points files, the split, crops, the cache of density maps, batches.

What a density map is stands in `crowd_counting/density.py`; the networks are in `crowd_counting/model`.
"""
