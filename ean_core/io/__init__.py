"""Files in and out: records, and tensors read so that no file can run code.

Only formats and their checks. What a network file means is in `ean_core/networks/checkpoint.py`.
"""
