"""Trimming a trained network: what each attention call is worth, what it costs, and the network without the rest.

A task gives a `TrimTask` (`task.py`); everything else is the same for all tasks.
"""
