"""The lowest layer: params, files, Git and errors; it knows nothing of images or models."""
