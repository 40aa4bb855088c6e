"""What users and Penstock's own suite test with: real servers, and a network that misbehaves on request."""

from .faults import Answer, Cut, End, NoUpgrade, Swallow
from .proxy import FaultProxy
from .server import ServerProcess, live_server, until

__all__ = [
    "Answer",
    "Cut",
    "End",
    "FaultProxy",
    "NoUpgrade",
    "ServerProcess",
    "Swallow",
    "live_server",
    "until",
]
