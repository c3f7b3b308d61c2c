"""The prepared tensors: on disk, as batches, augmented."""
