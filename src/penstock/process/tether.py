"""The line between a supervisor and one of its processes: a pair of sockets that ends where either end dies.

Upwards goes one message, that the process is ready, and with it the listening socket if the process made one.
Downwards goes nothing: the supervisor's death is what is told, by the end of the line, and it counts as SIGTERM.
"""

import contextlib
import signal
import socket
import threading
from typing import Self

import msgspec

from ..errors import ConfigError
from .shelf import remove

__all__ = ["Line", "Ready", "Tether"]

MESSAGE_BYTES = 4096
"""Most that is read at once; a message is one line of text beside a few numbers."""


class Ready(msgspec.Struct, frozen=True):
    """What a process says of itself.

    line: what a person is to be told.
    grace_s: seconds within which it has left once it was asked to.
    """

    line: str
    grace_s: float


class Tether:
    """The process's end. From its making on, the process ends in order if its supervisor does.

    spec: what `Line.spec` gave.
    folder: where the processes lay out what they count, see `shelf`.
    listener: the socket that all processes share; None in the first one, which makes it.

    Raises:
        ConfigError: There is no such line; the process was not started by a supervisor.
    """

    def __init__(self, spec: str) -> None:
        files, _, self.folder = spec.partition("@")
        line, _, listener = files.partition(",")
        try:
            self._line = _adopt(line)
            self.listener = _adopt(listener) if listener else None
        except (ValueError, OSError) as error:
            raise ConfigError(
                "--tether is for Penstock's own use.", hint="Use --workers N to start several processes."
            ) from error
        # Not being in the terminal's own group, it would else be stopped by a line of its log (`stty tostop`).
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        # A thread, and from the first moment: neither a long import nor a function that blocks the event loop
        # may keep a process from noticing that it is alone.
        threading.Thread(target=self._hold, name="penstock-tether", daemon=True).start()

    def ready(self, line: str, grace_s: float, listener: socket.socket | None = None) -> None:
        """Tell the supervisor, see `Ready`; it keeps the first one's listener for the processes to come."""
        message = msgspec.json.encode(Ready(line, grace_s)) + b"\n"
        files = [listener.fileno()] if listener is not None and self.listener is None else []
        with contextlib.suppress(OSError):  # it is gone, which `_hold` hears of too
            socket.send_fds(self._line, [message], files)

    def _hold(self) -> None:
        with contextlib.suppress(OSError):
            while self._line.recv(1):
                pass
        remove(self.folder)  # nobody else will: the supervisor has died
        # To the main thread: the event loop's wait is only broken off there.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


class Line:
    """The supervisor's end, and the one that it hands over when it starts a process.

    listener: given to the process, where there is one already. folder: see `Tether`.
    """

    def __init__(self, listener: socket.socket | None, folder: str) -> None:
        self._folder = folder
        self.ours, self._theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.files = [end.fileno() for end in (self._theirs, listener) if end is not None]
        self._heard = b""

    @property
    def spec(self) -> str:
        """What the process is told of it, for `Tether`."""
        return f"{','.join(map(str, self.files))}@{self._folder}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The process has its end by now, and must be the only one to have it; or it could not be started."""
        self._theirs.close()
        if kind is not None:
            self.close()

    def read(self) -> tuple[Ready | None, socket.socket | None]:
        """What has come, where it is complete, and the listener that came with it. Does not wait.

        Raises:
            EOFError: The line has ended.
        """
        try:
            data, files, _, _ = socket.recv_fds(self.ours, MESSAGE_BYTES, 1)
        except BlockingIOError:
            return None, None
        except OSError:
            data, files = b"", []
        if not data:
            raise EOFError
        self._heard += data
        listener = _adopt(str(files[0])) if files else None
        message = msgspec.json.decode(self._heard, type=Ready) if self._heard.endswith(b"\n") else None
        return message, listener

    def close(self) -> None:
        """Let go of it, which tells a process that is still there to leave."""
        self.ours.close()


def _adopt(file: str) -> socket.socket:
    adopted = socket.socket(fileno=int(file))
    adopted.set_inheritable(False)  # what functions start must not keep it open
    return adopted
