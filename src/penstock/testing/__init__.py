"""What users and Penstock's own suite test with: real servers, and a network that misbehaves on request."""

from .faults import Cut, End
from .proxy import FaultProxy
from .server import ServerProcess, live_server, until

__all__ = ["Cut", "End", "FaultProxy", "ServerProcess", "live_server", "until"]
