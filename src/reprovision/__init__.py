"""Reproducible vision pipelines: from a first neural network to a model that ships.

The package is layered, and imports only point down:

    cli, tracking                      the command line, MLflow, Git and DVC revisions
    training, evaluation, exporting    what the stages do
    models                             networks, their checkpoints, running them
    sources, data                      from a source of images to batches
    core                               params, files, errors
"""

import os

# A worker thread of OpenMP spins while it waits for work. On a machine that others use too, it
# spins away the very time that the work needs: trainings of small networks took ten times as long.
# A hundredth of the default wait costs nothing on an idle machine. Read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
