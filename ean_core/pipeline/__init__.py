"""Algorithm 1 from end to end, for any task: train the supernet, search a scheme, retrain it, compare and report.

What belongs here uses a task only through the `Task` protocol (`task.py`). What knows images of classes, density maps
or label maps belongs into that task's package; search methods belong into `ean_core.search`.
"""
