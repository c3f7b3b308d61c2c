"""Reproducible vision pipelines: from a first neural network to a model you can ship.

Packages from the lowest layer up; imports only point down, as tests/test_architecture.py checks:

    core                                        errors, params, files, Git; no torch
    images, data                                decoding of images; prepared tensors and batches
    sources, models, results                    where images come from; networks; finished runs
    training, evaluation, exporting, comparison what the stages and the reports do
    tracking, verify                            MLflow; a commit run again
    recipes, cli                                ready-made params; the command line
"""
