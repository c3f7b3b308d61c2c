"""What the project promises about time and memory, measured: `python -m benchmarks`.

    python -m benchmarks                  all parts, then the report
    python -m benchmarks NAME ...         some of them
    python -m benchmarks --skip NAME      all but some
    python -m benchmarks --toy            a few images each, to see that the scripts work
    python -m benchmarks report           docs/performance.md and its plots from benchmarks/results

A part (`parts/`) decides what is compared with what and turns what was measured into rows of a
table. What is measured runs in processes of its own (`workers/`), which are all that imports torch.
"""

import sys
from pathlib import Path

# the package measured is the one beside this folder, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
