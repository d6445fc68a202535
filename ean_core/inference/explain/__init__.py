"""Looking into a network: where it looks (Grad-CAM), and what its attention lets through."""
