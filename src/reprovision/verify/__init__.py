"""Tests whether a commit reproduces its results: it is run again from scratch, and compared.

The commit is cloned into a temporary folder with a DVC cache of its own, so that no earlier result
can stand in for a new one, and with an MLflow store of its own, so that the user's stays as it is.
Only the inputs are shared: downloaded archives and folders under DVC.
"""
