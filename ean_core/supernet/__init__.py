"""The weight-sharing side of Algorithm 1: scoring schemes with the shared weights of one trained network.

The scorer with its memory, the cache of stage outputs, batch-norm calibration, and the relaxation for methods that
follow gradients. How a supernet is trained is in `ean_core/training`; which schemes are tried, in `ean_core/search`.
"""
