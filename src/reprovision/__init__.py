"""Reproducible vision pipelines: from a first neural network to a model that ships.

The package is layered, and imports only point down:

    tracking, cli                      MLflow, Git and DVC revisions
    training, evaluation, exporting    what the stages do
    models                             networks, their checkpoints, running them
    sources, data                      from a source of images to batches
    core                               params, files, errors
"""
