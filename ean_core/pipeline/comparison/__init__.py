"""Search methods side by side on one trained supernet, with a common memory of scores (Table 4, Fig. 4 and 5)."""
