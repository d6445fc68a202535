"""File formats and their checks: records, JSON, and tensor files read without running code.

What a network file means is in `ean_core/networks/network_file.py`.
"""
