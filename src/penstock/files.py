"""A file that somebody has uploaded, as a function receives it."""

from pathlib import Path
from typing import BinaryIO

__all__ = ["FILE_FORMAT", "File"]

FILE_FORMAT = "penstock-file"
"""The JSON Schema `format` of a parameter annotated `penstock.File`: the input's member is an upload's id."""


class File:
    """An uploaded file. A parameter annotated `penstock.File` receives one; Optional and lists of them work too.

    id: the upload's. name: as its sender called it, without folders. media_type: as its sender said.
    size: in bytes. path: where to read it from, with the name's ending. It is not the function's to change, and
        stays as long as the run is kept.
    """

    __slots__ = ("id", "media_type", "name", "path", "size")

    def __init__(self, id: str, name: str, media_type: str, size: int, path: Path) -> None:  # noqa: A002
        self.id = id
        self.name = name
        self.media_type = media_type
        self.size = size
        self.path = path

    def open(self) -> BinaryIO:
        """The content, to be read; close it, or use it in a `with` block."""
        return self.path.open("rb")

    def __repr__(self) -> str:
        return f"<File {self.name!r}, {self.size} bytes>"
