"""The MMEngine side: model wrappers, metrics, hooks, loops, and the runner that they plug into."""
