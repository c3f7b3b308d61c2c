"""The prepared tensors: on disk, as batches, changed at random, shown as pictures."""
