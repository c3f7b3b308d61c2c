"""Image files from the body of a request, within limits."""

from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

MULTIPART = "multipart/form-data"
RAW = ("image/", "application/octet-stream")


async def read_uploads(
    request: Request, max_bytes: int, max_images: int
) -> list[tuple[str, bytes]]:
    """Names and contents of the image files in a request: a form's files, or the body itself.

    Raises:
        HTTPException: 413, 415 or 422, with a sentence.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _limited(request, max_bytes)
    if declared.startswith(RAW):
        content = b"".join([chunk async for chunk in body])
        if not content:
            raise HTTPException(422, "the body is empty: send an image file")
        return [("image", content)]
    if declared != MULTIPART:
        raise HTTPException(
            415,
            f"the content type is {declared or 'missing'}: send {MULTIPART} with image files, or "
            "an image file with image/jpeg or the like",
        )
    return await _read_form(request, body, max_bytes, max_images)


async def _read_form(
    request: Request, body: AsyncGenerator[bytes, None], max_bytes: int, max_images: int
) -> list[tuple[str, bytes]]:
    parser = MultiPartParser(request.headers, body, max_files=max_images, max_fields=max_images)
    # never on disk, which may be read-only; the body is limited
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
    # what some of Python's codecs raise, which the request may name as its charset
    except UnicodeError:
        raise HTTPException(422, "the form can't be read: use the charset utf-8") from None
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise HTTPException(
                413, f"more than {max_images} images: send fewer at a time"
            ) from None
        raise HTTPException(422, f"the form can't be read: {error.message}") from None
    try:
        values = [value for _, value in form.multi_items()]
        if not values or not all(isinstance(value, UploadFile) for value in values):
            raise HTTPException(422, "the form must hold image files and nothing else")
        files = [value for value in values if isinstance(value, UploadFile)]
        return [(file.filename or "image", await file.read()) for file in files]
    finally:
        await form.close()


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body in chunks; it is refused as soon as it is known to be too long."""
    refusal = HTTPException(413, f"the body is larger than {max_bytes / 2**20:g} MiB")
    declared = request.headers.get("content-length", "")
    # Python refuses to read numbers of thousands of digits
    if declared.isdecimal() and float(declared) > max_bytes:
        raise refusal
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise refusal
        yield chunk
