"""Using a trained network file of any task: `ean_core.load`, photos to inputs, predictions, export, Grad-CAM.

Nothing here trains. What makes a network faster is in `ean_core/deploy`; what a task's files hold, the task says.
"""
