"""Image classification as a task of the pipeline: its recipes, its images, and the commands around them.

What every task shares, from supernet to table, is in `ean_core.pipeline`.
"""
