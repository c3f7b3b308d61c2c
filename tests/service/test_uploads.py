"""Bodies of requests: forms and headers that are odd."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from local_service import make_client, write_model
from PIL import Image

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    write_model(model)
    with make_client(model) as opened:
        yield opened


def large_file() -> bytes:
    """An image file of more than 1 MiB."""
    content = io.BytesIO()
    Image.effect_noise((1200, 1200), 100).save(content, "PNG")
    assert len(content.getvalue()) > 2**20
    return content.getvalue()


def form(content: bytes, name: bytes = b"a.png") -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n"


def test_a_length_of_thousands_of_digits_is_refused(client: TestClient) -> None:
    answer = client.post("/predict", content=b"x", headers=PNG | {"Content-Length": "9" * 5000})
    assert answer.status_code == 413


@pytest.mark.parametrize("charset", ["undefined", "idna", "utf-16", "hex", "no such"])
def test_a_form_may_name_any_charset(client: TestClient, charset: str) -> None:
    headers = {"Content-Type": f'multipart/form-data; boundary=x; charset="{charset}"'}
    answer = client.post("/predict", content=form(b"", b"..a"), headers=headers)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_a_form_is_never_written_to_a_disk(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where a container is read-only, there is no folder for temporary files
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    answer = client.post("/predict", files=[("image", ("noise.png", large_file()))])
    assert answer.status_code == 200, answer.text
