"""From logits to figures and pictures of how good a classifier is."""
