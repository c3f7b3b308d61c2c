"""Networks by name, checkpoints and inference."""
