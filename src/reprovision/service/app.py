"""The HTTP API: image files in, classes with probabilities out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata, resources
from time import perf_counter
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from reprovision.core.errors import printable
from reprovision.service.decoding import as_png
from reprovision.service.models import Loaded
from reprovision.service.service import Result, Service, Upload
from reprovision.service.uploads import MULTIPART, read_uploads
from reprovision.serving.output import as_object, most_probable


class ClassProbability(BaseModel):
    name: Annotated[str, Field(alias="class")]
    probability: float


class Prediction(BaseModel):
    """Of one image: the most probable classes, in order."""

    image: str
    classes: list[ClassProbability]
    pixels: str | None = None


class Answer(BaseModel):
    model: str
    version: str
    predictions: list[Prediction]


class Model(BaseModel):
    """The model that answers.

    Height, width and channels are of the pixels that it takes; drawings can be sent to a model of
    grayscale images.
    """

    model: str
    version: str
    classes: list[str]
    height: int
    width: int
    channels: int
    drawings: bool


class Status(BaseModel):
    status: str


class Error(BaseModel):
    """One sentence on what is wrong."""

    detail: str


STATUSES = {
    400: "The connection ended within the request",
    413: "The body or an image is too large, or takes long to decode for its size",
    415: "Not an image, or of an unknown format",
    422: "An image is damaged, or the request incomplete",
    429: "Too many images are under way: try again later",
    503: "It took too long",
}

SHORT = 2000
"""Classes of an answer that is written at once: in a few milliseconds, for which a thread would
cost more than it saves. 128,000 take 0.27 s (one core of an AMD EPYC, n=1)."""

BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "array", "minItems": 1, "items": BINARY}},
                }
            },
            "image/*": {"schema": BINARY},
        },
    }
}
"""Read as a stream, so that FastAPI can't know it."""

CONTENT_SECURITY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def make_app(service: Service) -> FastAPI:
    """The ASGI application of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="reprovision",
        version=metadata.version("reprovision"),
        description="Classes of images with their probabilities.",
        lifespan=lifespan,
    )
    _add_predict(app, service)
    _add_status(app, service)

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        # only `predict` has params; it is not called
        service.metrics.requests.labels("422").inc()
        found = error.errors()[0]
        return JSONResponse({"detail": f"{found['loc'][-1]}: {found['msg']}"}, 422)

    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": Error, "description": text} for status, text in STATUSES.items()
    }

    @app.post("/predict", response_model=Answer, responses=errors, openapi_extra=BODY)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=10_000, description="Classes per image")] = 10,
        drawing: Annotated[
            bool, Query(description="Light strokes on black, to be centered as MNIST's digits are")
        ] = False,
        pixels: Annotated[
            bool, Query(description="Also return what the model sees, as a PNG")
        ] = False,
    ) -> JSONResponse:
        """Classify image files: a form with one or several of them, or the file as the body."""
        start, status = perf_counter(), 500
        try:
            answer = await _answer(request, service, top, drawing, pixels)
            status = 200
            return answer
        except AnyHTTPException as error:
            status = error.status_code
            raise
        finally:
            service.metrics.requests.labels(str(status)).inc()
            service.metrics.seconds.observe(perf_counter() - start)


async def _answer(
    request: Request, service: Service, top: int, drawing: bool, pixels: bool
) -> JSONResponse:
    """An `Answer`; FastAPI would take longer to check it than to send it."""
    limits, loaded = service.limits, service.loaded
    try:
        async with asyncio.timeout(limits.seconds):
            with service.admitted(1):
                uploads: list[Upload] = await read_uploads(request, limits.body, limits.queue)
                with service.admitted(len(uploads) - 1):
                    results = await service.predict(loaded, uploads, drawing)
                    write = partial(_write_answer, loaded, uploads, results, top, pixels)
                    is_short = not pixels and len(uploads) * top <= SHORT
                    return write() if is_short else await asyncio.to_thread(write)
    except TimeoutError:
        raise HTTPException(503, f"it took longer than {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, STATUSES[400]) from None


def _write_answer(
    loaded: Loaded, uploads: Sequence[Upload], results: Sequence[Result], top: int, pixels: bool
) -> JSONResponse:
    """The content of an `Answer` as JSON."""
    predictions = []
    for (name, _), (image, probabilities) in zip(uploads, results, strict=True):
        best = most_probable(loaded.predictor.classes, probabilities, top)
        predictions.append(as_object(printable(name), best))
        if pixels:
            predictions[-1]["pixels"] = as_png(image)
    return JSONResponse(
        {"model": loaded.name, "version": loaded.version, "predictions": predictions}
    )


def _add_status(app: FastAPI, service: Service) -> None:
    page = resources.files("reprovision.service").joinpath("page.html").read_text("utf-8")

    @app.api_route(
        "/", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False
    )
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY})

    @app.get("/model")
    async def model() -> Model:
        """What answers, and what it takes."""
        loaded = service.loaded
        how = loaded.predictor.preprocessing
        return Model(
            model=loaded.name,
            version=loaded.version,
            classes=list(loaded.predictor.classes),
            height=how.height,
            width=how.width,
            channels=how.channels,
            drawings=loaded.predictor.drawing_box is not None,
        )

    @app.get("/health")
    async def health() -> Status:
        """Whether the process lives."""
        return Status(status="ok")

    @app.get("/ready", responses={503: {"model": Error, "description": "It is busy or stopping"}})
    async def ready() -> Status:
        """Whether it takes another request, for a load balancer."""
        if not service.is_ready:
            raise HTTPException(503, "it is busy or stopping")
        return Status(status="ready")

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
