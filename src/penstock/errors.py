"""Everything that can go wrong, and whose it is to mend.

PenstockError
├── RequestError             the caller's to mend; nothing was written
│   ├── BadRequest           400  bad_request
│   ├── BadCursor            400  bad_cursor
│   ├── Unauthorized         401  unauthorized
│   ├── ForbiddenHost        403  forbidden_host
│   ├── ForbiddenOrigin      403  forbidden_origin
│   ├── NotOperator          403  not_operator (inside a Gradio app)
│   ├── UnknownFunction      404  unknown_function
│   ├── UnknownRun           404  unknown_run
│   ├── NotFound             404  not_found
│   ├── MethodNotAllowed     405  method_not_allowed
│   ├── UnknownUpload        404  unknown_upload
│   ├── AlreadyRunning       409  already_running (`on_repeat="reject"`)
│   ├── NotWaiting           409  not_waiting
│   ├── UploadInUse          409  upload_in_use
│   ├── UploadMoved          409  upload_moved
│   ├── UnsupportedTus       412  unsupported_tus_version
│   ├── BodyTooLarge         413  body_too_large
│   ├── UnsupportedMedia     415  unsupported_media_type
│   ├── UpgradeRequired      426  upgrade_required
│   ├── InvalidInput         422  invalid_input (names the field)
│   ├── UploadLocked         423  upload_locked
│   └── QueueFull            503  queue_full
├── YieldError               the function's to mend; its run ends as failed
│   ├── BadYield             500  bad_yield
│   ├── EventTooLarge        500  event_too_large
│   └── BufferFull           500  buffer_full
├── StoreError               the operator's to mend; callers are answered 503
│   ├── StoreFull            503  store_full
│   ├── StoreLocked          503  store_locked
│   ├── StoreCorrupt         503  store_corrupt
│   ├── NotAStore            503  not_a_store
│   ├── StoreTooNew          503  store_too_new
│   └── StoreUnavailable     503  store_unavailable
├── Fenced                   409  fenced: this worker no longer owns the run; nothing was written
├── ServerClosing            503  server_closing
├── MemoryLimit              503  memory_limit: the operator's to mend; it may also pass
├── ConfigError              the operator's to mend, before anything starts
└── ClientError              raised by penstock.Client
    ├── RunFailed                 run_failed: the run did not succeed; carries its state and error
    ├── ConnectionLost            connection_lost: retries are used up; the run itself goes on
    └── ProtocolError             protocol_error: the server broke a promise (a gap, say)
"""

from typing import Any, ClassVar

__all__ = [
    "AlreadyRunning", "BadCursor", "BadRequest", "BadYield", "BodyTooLarge", "BufferFull", "ClientError",
    "ConfigError", "ConnectionLost", "EventTooLarge", "Fenced", "ForbiddenHost", "ForbiddenOrigin",
    "InvalidInput", "MemoryLimit", "MethodNotAllowed", "NotAStore", "NotFound", "NotOperator", "NotWaiting",
    "PenstockError", "ProtocolError", "QueueFull", "RequestError", "RunFailed", "ServerClosing",
    "StoreCorrupt", "StoreError", "StoreFull", "StoreLocked", "StoreTooNew", "StoreUnavailable",
    "Unauthorized", "UnknownFunction", "UnknownRun", "UnknownUpload", "UnsupportedMedia", "UnsupportedTus",
    "UpgradeRequired", "UploadInUse", "UploadLocked", "UploadMoved", "YieldError",
]  # fmt: skip


class PenstockError(Exception):
    """Root of the tree.

    `code` is stable and for programs, `status` is the HTTP status it is answered with, `hint` says what to
    do about it (a traceback ends with it, too), and `field` names the offending input where there is one.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        if hint:
            self.add_note(hint)

    def as_dict(self) -> dict[str, str]:
        """The wire form: `{code, message, hint, field?}`."""
        body = {"code": self.code, "message": self.message, "hint": self.hint}
        return body if self.field is None else {**body, "field": self.field}


class RequestError(PenstockError):
    """The caller sent something that can't be done. Nothing was written."""

    code = "bad_request"
    status = 400


class BadRequest(RequestError):
    """A body or a parameter is not what the route takes."""


class BadCursor(RequestError):
    """A cursor is not `<epoch>-<seq>`."""

    code = "bad_cursor"


class Unauthorized(RequestError):
    """The server has a token and the request did not carry it."""

    code = "unauthorized"
    status = 401


class ForbiddenHost(RequestError):
    """A server without a token was addressed by a name that is not this machine's."""

    code = "forbidden_host"
    status = 403


class ForbiddenOrigin(RequestError):
    """A page of another site wanted to open a WebSocket."""

    code = "forbidden_origin"
    status = 403


class NotOperator(RequestError):
    """Somebody who is logged in asked for what only operators may have."""

    code = "not_operator"
    status = 403


class UnknownFunction(RequestError):
    """No function is registered under this name."""

    code = "unknown_function"
    status = 404


class UnknownRun(RequestError):
    """The store holds no run with this id."""

    code = "unknown_run"
    status = 404


class UnknownUpload(RequestError):
    """There is no upload with this id."""

    code = "unknown_upload"
    status = 404


class UploadInUse(RequestError):
    """A run has the file for its input, and it stays as long as the run."""

    code = "upload_in_use"
    status = 409


class UploadMoved(RequestError):
    """What was sent does not begin where the upload stands."""

    code = "upload_moved"
    status = 409


class UnsupportedTus(RequestError):
    """The request does not say that it speaks the version of the upload protocol that is spoken here."""

    code = "unsupported_tus_version"
    status = 412


class UploadLocked(RequestError):
    """Another request is writing the upload."""

    code = "upload_locked"
    status = 423


class NotFound(RequestError):
    """No route answers this path."""

    code = "not_found"
    status = 404


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class BodyTooLarge(RequestError):
    """The request body is over `max_body_bytes`."""

    code = "body_too_large"
    status = 413


class UnsupportedMedia(RequestError):
    """The request body is not of the type that the route takes."""

    code = "unsupported_media_type"
    status = 415


class UpgradeRequired(RequestError):
    """The path is a WebSocket's and the request was none."""

    code = "upgrade_required"
    status = 426


class InvalidInput(RequestError):
    """The input does not fit the function's signature; `field` names the member."""

    code = "invalid_input"
    status = 422


class AlreadyRunning(RequestError):
    """The session has a run of this function that has not ended, and the function takes one at a time."""

    code = "already_running"
    status = 409


class NotWaiting(RequestError):
    """The run has started, or ended: it has no place in line any more."""

    code = "not_waiting"
    status = 409


class QueueFull(RequestError):
    """As many runs wait in the group as may. `retry_after_s`: whole seconds until there is likely to be room."""

    code = "queue_full"
    status = 503

    def __init__(
        self, message: str, *, hint: str = "", field: str | None = None, retry_after_s: int = 1
    ) -> None:
        super().__init__(message, hint=hint, field=field)
        self.retry_after_s = retry_after_s


class YieldError(PenstockError):
    """A function emitted something that can't be stored. Nothing of it was."""

    code = "bad_yield"


class BadYield(YieldError):
    """A yielded value has no JSON form."""


class EventTooLarge(YieldError):
    """One event is over `MAX_EVENT_BYTES`."""

    code = "event_too_large"


class BufferFull(YieldError):
    """A function emitted faster than the store takes, without ever waiting for it."""

    code = "buffer_full"


class StoreError(PenstockError):
    """The store can't answer. Callers get 503 and may try again.

    Unless a method's docstring says otherwise, nothing was written.
    """

    code = "store_unavailable"
    status = 503


class StoreFull(StoreError):
    """The disk (or the quota) that holds the store is full."""

    code = "store_full"


class StoreLocked(StoreError):
    """Another program holds the store's lock for longer than we wait."""

    code = "store_locked"


class StoreCorrupt(StoreError):
    """The store's file is damaged."""

    code = "store_corrupt"


class NotAStore(StoreError):
    """The file is not a Penstock store, or not a database at all."""

    code = "not_a_store"


class StoreTooNew(StoreError):
    """A newer Penstock has written this store; this one must not touch it."""

    code = "store_too_new"


class StoreUnavailable(StoreError):
    """The store can't be reached: missing folder, no permission, I/O error, closed."""


class Fenced(PenstockError):
    """The lease is no longer ours: the run was ended or given to another worker. Nothing was written."""

    code = "fenced"
    status = 409


class ServerClosing(PenstockError):
    """The server is shutting down and takes no new runs."""

    code = "server_closing"
    status = 503


class MemoryLimit(PenstockError):
    """The service uses more memory than it may, and takes no new runs until some is freed. Nothing was written.

    `retry_after_s`: whole seconds after which to ask again.
    """

    code = "memory_limit"
    status = 503
    retry_after_s: ClassVar[int] = 5


class ConfigError(PenstockError):
    """A setting, an option or a target can't be used; nothing was started."""

    code = "config"


class ClientError(PenstockError):
    """Root of what `penstock.Client` raises by itself; the server's errors are raised as their own types."""

    code = "client"


class RunFailed(ClientError):
    """The run ended as failed, cancelled or interrupted. `state` and `error` are those of its `end` event."""

    code = "run_failed"

    def __init__(self, message: str, *, state: str, error: dict[str, Any], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.state = state
        self.error = error


class ConnectionLost(ClientError):
    """The server could not be reached within the retries given. The run is not affected."""

    code = "connection_lost"


class ProtocolError(ClientError):
    """What arrived breaks the protocol: an event is missing, or the bytes are not an event stream."""

    code = "protocol_error"
