"""How a run presents itself in MLflow."""

import os
import pwd

import pytest

from reprovision.tracking.descriptions import source_tags


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # as in a container that is started with another user than its image knows
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert source_tags()["mlflow.user"] == str(os.getuid())
