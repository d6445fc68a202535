"""The ground floor: errors, atomic files, devices, processes, progress, intervals, plain words.

Small modules that every other package may use and that use none of them.
"""
