"""MLflow: a view of what DVC records, which can be rebuilt from it at any time.

Only this package imports mlflow, and only when a run is to be written: that takes two seconds.
"""
