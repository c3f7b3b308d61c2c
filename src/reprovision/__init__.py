"""Reproducible vision pipelines: from a first neural network to a model you can ship.

Packages from the lowest layer up; imports only point down, as tests/test_architecture.py checks:

    core                                        errors, params, files, Git; no torch
    images                                      from an image file to pixels; pictures of many
    data                                        prepared tensors and batches
    sources, models, results, serving           sources of images; networks; finished runs; answers
    training, evaluation, exporting, comparison what the stages and the reports do
    tracking, verify                            MLflow; a commit run again
    recipes, cli                                ready-made params; the command line
"""
