"""Images and masks in VOC's layout: reading, drawing a demo set, setting up, and checking labels before training.

mmsegmentation's own data sets are used as they are; this package adds what they lack.
"""
