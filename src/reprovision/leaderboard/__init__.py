"""From finished runs to a ranking of params: means over seeds, and which differences are real."""
