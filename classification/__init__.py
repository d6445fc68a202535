"""Image classification: the recipes, and the parts of the pipeline supernet -> search -> retraining."""
