"""The stages of the pipeline, one short script each, run as `python -m stages.NAME`.

Each reads params.yaml, calls the package and writes its outputs where `results/layout.py` and
dvc.yaml say.
"""

import os
import sys
from pathlib import Path

# DVC runs queued experiments in a copy of the repository: the package beside this file is the one
# they were queued with, and an installed one may have been edited since
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

try:
    from reprovision.core.numerics import read_numerics, set_numerics
    from reprovision.core.stage import handle_errors
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {sys.executable}, which DVC calls as `python`, lacks the package {error.name}: "
        "use `uv run dvc`, which finds the project's own Python"
    )

# a notebook's may not be installed here
os.environ["MPLBACKEND"] = "agg"
# before a stage imports any library that computes
if status := handle_errors(lambda: set_numerics(read_numerics())):
    sys.exit(status)
