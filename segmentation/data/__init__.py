"""Images and masks in VOC's layout: reading, drawing a demo, setting up, and checking labels before a training.

mmsegmentation's own data sets are used as they are; here is what it lacks.
"""
