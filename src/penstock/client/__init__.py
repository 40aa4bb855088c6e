"""The Python client: submit runs to a Penstock server and read them through any number of broken connections.

`AsyncClient` does the work; `Client` runs one on a thread of its own for programs without an event loop.
"""

from .async_client import AsyncClient
from .async_run import AsyncIteration, AsyncRemoteRun
from .sync_client import Client, Iteration, RemoteRun

__all__ = ["AsyncClient", "AsyncIteration", "AsyncRemoteRun", "Client", "Iteration", "RemoteRun"]
