"""Utilities: errors, atomic files, devices, processes, progress, statistics, text.

Small modules that every other package may import and that import none of them.
"""
