"""Reproducible vision pipelines: from a first neural network to a model you can ship.

Packages from the lowest layer up; imports only point down, as tests/test_architecture.py checks:

    core                                        errors, params, files, Git; no torch
    images, data                                decoding of images; prepared tensors and batches
    sources, models, results                    where images come from; networks; finished runs
    training, evaluation, exporting, comparison what the stages and the reports do
    tracking, verify                            MLflow; a commit run again
    recipes, cli                                ready-made params; the command line
"""

import os

# A thread of OpenMP spins while it waits for work. On a machine with other load, this takes CPU
# time from the threads that work: training of small networks took ten times as long. A hundredth
# of the default wait costs nothing on an idle machine. Read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
