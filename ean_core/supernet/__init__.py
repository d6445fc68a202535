"""The weight-sharing side of Algorithm 1: scoring schemes with the shared weights of one trained network.

The scorer, the cache of stage outputs, batch norm calibration, and the relaxation for gradient-based search. Training
a supernet is in `ean_core/training`; choosing which schemes to try, in `ean_core/search`.
"""
