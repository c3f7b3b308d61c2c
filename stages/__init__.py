"""The stages of the pipeline, one thin script each, run as `python -m stages.NAME`.

They are the only code that names output paths, together with dvc.yaml.
"""

import sys
from pathlib import Path

# DVC runs queued experiments in a copy of the repository: the package beside this file is the one
# they were queued with, and an installed one may have been edited since
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
