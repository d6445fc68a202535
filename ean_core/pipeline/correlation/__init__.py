"""How well scores on the supernet predict the results of the same schemes trained from scratch (section 4.3)."""
