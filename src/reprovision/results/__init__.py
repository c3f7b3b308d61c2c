"""The results of the pipeline: where they lie, what they mean, and finished runs."""
