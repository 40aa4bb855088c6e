"""Uploads by the tus protocol 1.0.0 (https://tus.io): core, creation, expiration, termination.

A request's body goes to disk as it comes; what has come stays when its connection breaks, and the client goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from functools import partial
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import (
    BadRequest,
    BodyTooLarge,
    PenstockError,
    UnsupportedMedia,
    UnsupportedTus,
    UploadLocked,
    UploadMoved,
)
from ..storage.uploads import Upload, Writing
from .context import Context, context_of
from .refusing import error_response
from .upload_headers import metadata_in, whole_number

__all__ = ["UploadRoutes"]

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"

WRITE_BYTES = 256 * 1024
"""Written to disk at once, and so held of each upload: more pieces would each cost a turn of a thread."""

BODY_TYPE = "application/offset+octet-stream"


_Kept = tuple[int, PenstockError | None]


class UploadRoutes:
    """/api/uploads and /api/uploads/{upload_id}. An ASGI application."""

    def __init__(self) -> None:
        self._receiving: dict[str, asyncio.Task[_Kept]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except PenstockError as error:
            response = error_response(error)
        response.headers.update({"Tus-Resumable": VERSION, "Tus-Version": VERSION})
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        context, upload_id = context_of(request), request.path_params.get("upload_id")
        method = request.method
        if method == "POST":  # from where nothing else gets through
            method = request.headers.get("x-http-method-override", method).upper()
        if method == "OPTIONS":
            return _abilities(context)
        if method == "GET" and upload_id is not None:
            return await self._describe(context, upload_id)
        known = {"POST": self._create} if upload_id is None else self._of_one(upload_id)
        if method not in known:
            raise HTTPException(405, headers={"Allow": ", ".join([*known, "OPTIONS"])})
        if request.headers.get("tus-resumable") != VERSION:  # no page of another site can send it unasked
            raise UnsupportedTus(
                f"The request does not say Tus-Resumable: {VERSION}.", hint="Uploads speak tus."
            )
        return await known[method](context, request)

    def _of_one(self, upload_id: str) -> dict[str, Callable[[Context, Request], Awaitable[Response]]]:
        answers = {"HEAD": self._look, "PATCH": self._receive, "DELETE": self._remove}
        return {method: partial(answer, upload_id) for method, answer in answers.items()}

    async def _create(self, context: Context, request: Request) -> Response:
        size = whole_number(request.headers, "Upload-Length")
        most = context.settings.max_upload_bytes
        if size > most or not most:
            hint = (
                "Send a smaller one, or raise max_upload_bytes." if most else "max_upload_bytes is 0: none."
            )
            raise BodyTooLarge(f"A file may have {most} bytes.", hint=hint, field="Upload-Length")
        metadata = request.headers.get("upload-metadata", "")
        name, media_type = metadata_in(metadata)
        upload = await asyncio.to_thread(context.uploads.create, name, media_type, size, metadata)
        place = f"{request.scope.get('root_path', '')}/api/uploads/{upload.id}"
        body = msgspec.json.encode({"upload_id": upload.id})
        headers = _standing(context, upload) | {"Location": place}
        return Response(body, 201, headers, media_type="application/json")

    async def _look(self, upload_id: str, context: Context, _: Request) -> Response:
        await self._interrupt(upload_id)  # or what is said here would not be so for long
        upload = await asyncio.to_thread(context.uploads.get, upload_id)
        headers = {"Cache-Control": "no-store", "Upload-Length": str(upload.size)}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        headers |= _standing(context, upload)
        return Response(status_code=200, headers=headers)

    async def _describe(self, context: Context, upload_id: str) -> Response:
        upload = await asyncio.to_thread(context.uploads.get, upload_id)
        told = {"upload_id": upload.id, "name": upload.name, "media_type": upload.media_type}
        body = msgspec.json.encode(told | {"size": upload.size, "offset": upload.offset})
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

    async def _remove(self, upload_id: str, context: Context, _: Request) -> Response:
        await self._interrupt(upload_id)
        await asyncio.to_thread(context.uploads.remove, upload_id)
        return Response(status_code=204)

    async def _receive(self, upload_id: str, context: Context, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != BODY_TYPE:
            raise UnsupportedMedia("The body is no part of a file.", hint=f"Send Content-Type: {BODY_TYPE}.")
        offset = whole_number(request.headers, "Upload-Offset")
        earlier = self._receiving.get(upload_id)  # a client that comes back has lost its old connection
        begin = partial(context.uploads.write, upload_id, offset)
        self._receiving[upload_id] = task = asyncio.create_task(_receive(request, begin, earlier))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            if self._receiving.get(upload_id) is task:
                del self._receiving[upload_id]
        if task.cancelled():
            raise UploadLocked("Another request goes on with this upload.", hint="HEAD says from where.")
        kept, error = task.result()
        if error is None:
            upload = await asyncio.to_thread(context.uploads.get, upload_id)
            return Response(status_code=204, headers=_standing(context, upload))
        response = error_response(error)
        response.headers["Upload-Offset"] = str(kept)
        return response

    async def _interrupt(self, upload_id: str) -> None:
        if task := self._receiving.get(upload_id):
            await _stop(task)


async def _stop(task: "asyncio.Task[_Kept]") -> None:
    task.cancel()
    await _settled(task)


async def _settled(future: "asyncio.Future[Any]") -> None:
    """Wait until it is done, even if this is cancelled meanwhile: until then the upload may be locked."""
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _receive(
    request: Request, begin: Callable[[], Writing], earlier: "asyncio.Task[_Kept] | None"
) -> _Kept:
    """Write the body to disk until its end, or its connection's; what has come is kept in any case.

    Returns how far the upload has come, and what kept it from coming further. Raises PenstockError where nothing
    could begin.
    """
    if earlier is not None:
        await _stop(earlier)
    opening = asyncio.ensure_future(asyncio.to_thread(begin))
    try:
        writing = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await _settled(opening)  # a thread can't be stopped, and would hold the upload's lock
        if opening.exception() is None:
            opening.result().finish()
        raise
    error: PenstockError | None = None
    try:
        await _copy(request, writing)
    except PenstockError as caught:
        error = caught
    finally:
        finishing = asyncio.ensure_future(asyncio.to_thread(writing.finish))
        await _settled(finishing)
    finishing.result()
    return writing.offset, error


async def _copy(request: Request, writing: Writing) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > writing.room:
        raise BodyTooLarge("More is sent than was announced.", hint="Upload-Length says how much there is.")
    waiting = bytearray()
    try:
        async for piece in _pieces(request):
            waiting += piece
            if len(waiting) >= WRITE_BYTES:
                data, waiting = bytes(waiting), bytearray()
                await asyncio.to_thread(writing.write, data)
    except ClientDisconnect as error:
        raise BadRequest("The body ended early.", hint="HEAD says from where to go on.") from error
    finally:  # whatever ends it: a client that comes back before its dead connection is noticed cancels this
        await asyncio.to_thread(writing.write, bytes(waiting))


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body's pieces. A connection that died without a word would hold the upload's lock for ever."""
    patience_s = context_of(request).settings.stall_timeout_s
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(patience_s):
                piece = await anext(stream, None)
        except TimeoutError as error:
            # 409: what any client of tus answers with HEAD, and then goes on.
            hint = "What had come is kept; HEAD says from where to go on."
            raise UploadMoved(f"Nothing came for {patience_s:g} s.", hint=hint) from error
        if piece is None:
            return
        yield piece


def _abilities(context: Context) -> Response:
    most = str(context.settings.max_upload_bytes)
    return Response(status_code=204, headers={"Tus-Extension": EXTENSIONS, "Tus-Max-Size": most})


def _standing(context: Context, upload: Upload) -> dict[str, str]:
    expires_s = upload.changed_ms / 1000 + context.settings.upload_keep_s
    return {"Upload-Offset": str(upload.offset), "Upload-Expires": formatdate(expires_s, usegmt=True)}
