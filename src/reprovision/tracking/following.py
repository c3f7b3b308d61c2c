"""The process that writes the epochs of a running training to MLflow.

    python -m reprovision.tracking.following KEY

In, on standard input: a line of JSON with all params; then, as epochs end, lines with a list of new
ones. It ends with its input, and with one warning where MLflow is away.
"""

import json
import signal
import sys

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.training.history import Epoch


def main(key: str) -> None:
    # Ctrl-C is for the training, which then closes this process's input
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from reprovision.tracking.record import write_epochs

    params = Params.model_validate_json(sys.stdin.readline())
    history: list[Epoch] = []
    for line in sys.stdin:
        history += [Epoch(**epoch) for epoch in json.loads(line)]
        try:
            write_epochs(params, key, history)
        except (UserError, OSError) as error:
            sys.exit(f"warning: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
