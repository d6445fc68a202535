"""Training with MMEngine: model wrappers, metrics, hooks, loops and the runner."""
