"""MLflow: a view of the results that DVC keeps, which can be rebuilt from them at any time.

Only this package imports mlflow, and only where a run is logged or read: the import takes two
seconds.
"""

import os

# MLflow reads these when it is imported, or by then; what the user has set stays
_DEFAULTS = {
    # a server that hangs is given up after about 20 seconds
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # and so is a PostgreSQL database
    "PGCONNECT_TIMEOUT": "10",
    # errors are raised, and the track stage prints a summary of its own
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # a logged model has requirements of its own, far fewer than the lock file of this project
    "MLFLOW_UV_AUTO_DETECT": "false",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
