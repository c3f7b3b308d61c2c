"""A registered model for the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from project import tiny_tree

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.tracking import registered
from reprovision.tracking.registered import RegisteredModels


def test_a_damaged_version_is_reported_by_its_address_so_that_each_report_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def no_store(*arguments: str) -> Iterator[None]:
        yield

    def fetch(uri: str, folder: str) -> Path:
        path = Path(folder, "model.onnx")
        path.write_bytes(b"not a model")
        return path

    monkeypatch.setattr(registered, "open_store", no_store)
    monkeypatch.setattr(registered, "fetch_model", fetch)
    models = RegisteredModels(Params.model_validate(tiny_tree()), "models:/digits@champion")
    messages = set()
    for _ in range(2):
        with pytest.raises(UserError) as raised:
            models.load("7")
        messages.add(str(raised.value))
    (message,) = messages
    assert "models:/digits/7 is not a model of the export stage" in message
    assert "/tmp" not in message
