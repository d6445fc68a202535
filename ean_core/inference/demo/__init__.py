"""A local page to try trained networks on: what it answers, how it looks, and how it is served."""
