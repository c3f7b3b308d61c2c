"""From prepared images to a trained classifier."""
