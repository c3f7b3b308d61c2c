"""Ground floor: params, files, errors; knows nothing of images."""
