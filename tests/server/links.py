"""Bytes of a connection, as they come."""

import socket

__all__ = ["until"]


def until(link: socket.socket, text: bytes) -> bytes:
    """What comes until `text` is in it."""
    got = b""
    while text not in got:
        piece = link.recv(65536)
        assert piece, f"closed after {got!r}"
        got += piece
    return got
