"""The commands. A wheel installs this folder as the package `ean_tools`, and `ean VERB` runs them (`__main__.py`)."""
