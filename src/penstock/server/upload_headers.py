"""What the headers of an upload say."""

import base64
import binascii
import re
from collections.abc import Mapping

from ..errors import BadRequest

__all__ = ["metadata_in", "whole_number"]

MOST_DIGITS = 18
"""Of a size or an offset: an exabyte."""

NAME_CHARS = 255
"""Of a file's name: as long as file systems have them."""

UNNAMED, UNKNOWN_TYPE = "file", "application/octet-stream"

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def whole_number(headers: Mapping[str, str], name: str) -> int:
    """A header that is a size or an offset. Raises BadRequest."""
    text = headers.get(name, "")
    if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
        return int(text)
    raise BadRequest(f"{name} is {text!r}.", hint="It takes a whole number of bytes.", field=name)


def metadata_in(header: str) -> tuple[str, str]:
    """The file's name and media type in `Upload-Metadata`, where they are given. Raises BadRequest."""
    given = dict(_pair(one) for one in header.split(",") if one.strip())
    name = given.get("filename", given.get("name", ""))
    name = _UNPRINTABLE.sub("", name.replace("\\", "/").rpartition("/")[2])[:NAME_CHARS].strip()
    media_type = given.get("filetype", given.get("type", "")).partition(";")[0].strip().lower()
    return (
        UNNAMED if name in ("", ".", "..") else name,
        media_type if _TYPE.fullmatch(media_type) else UNKNOWN_TYPE,
    )


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.strip().partition(" ")
    try:
        return key.lower(), base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        hint = "filename and filetype, each with its value in base64, with a comma between."
        raise BadRequest(f"{key[:100]!r} can't be read.", hint=hint, field="Upload-Metadata") from error
