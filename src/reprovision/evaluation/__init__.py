"""Charts of how good a classifier is."""
