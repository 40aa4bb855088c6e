"""What a search of runs finds: one rule for all stores, and the bounds of one look."""

from collections.abc import Iterable

import msgspec

__all__ = ["DOCUMENT_CHARS", "SEARCHED_BYTES", "SEARCHED_RUNS", "Search"]

SEARCHED_RUNS = 20_000
"""Runs that one page of a search looks at: about 0.1 s of a reading thread. What was not looked at is the next
page's, so a search of a long history costs each of its pages the same."""

SEARCHED_BYTES = 16 * 1024 * 1024
"""Bytes of inputs and errors after which such a page ends as well: inputs may have megabytes each."""

DOCUMENT_CHARS = 64 * 1024
"""Of a longer input or error only the beginning is searched: the rest is data, not what a person remembers."""


class Search:
    """A text that is looked for, without regard to case, by Unicode's rules.

    JSON is searched as it was sent, and as it means: `é` is found in `\\u00e9`, and `say "hi"` in a string that
    has its quotes escaped.
    """

    def __init__(self, text: str) -> None:
        self._plain = text.casefold()
        self._in_json = msgspec.json.encode(text).decode()[1:-1].casefold()

    def finds(self, words: Iterable[str | None], documents: Iterable[str | None]) -> bool:
        """Whether it stands in one of the words, or of the documents, which are JSON."""
        if any(self._plain in word.casefold() for word in words if word):
            return True
        return any(self._stands_in(document[:DOCUMENT_CHARS]) for document in documents if document)

    def _stands_in(self, document: str) -> bool:
        if self._plain in document.casefold():
            return True
        return "\\" in document and self._in_json in _as_meant(document).casefold()


def _as_meant(document: str) -> str:
    """With no character escaped that need not be; as it is, where it can't be read (its end is missing, say)."""
    try:
        return msgspec.json.encode(msgspec.json.decode(document)).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return document
