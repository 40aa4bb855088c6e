"""Words: how names, docstrings and questions are cut into the terms they are compared by."""

import re
from functools import lru_cache

__all__ = ["NAME", "STOP_WORDS", "stem", "terms"]

NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
"""A Python name, dotted or not."""

_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*|\d+")
_VOWEL = re.compile("[aeiouy]")

VOCABULARY = 1 << 16
"""Stems remembered: the standard library's docstrings hold about 20,000 different words."""

_STOP_WORDS = """
    a about all also am an and any anything are as at be been being best between but by can could
    did do does each explain for from get give had has have hello hey hi how i if in into is it its
    let like make many may me mean method modern module my need not of on one or our out over please
    proper python pythonic should show so some standard stdlib tell than thank thanks that the their
    them then there these they this to two up us use used useful uses using via want was way we were
    what when where whether which who whose why will with without work works would you your
    difference function library class thing things simple simplest easily quick quickly
    programmatically example examples much more most just only vs other another through
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of a question that say nothing about what it is about."""


@lru_cache(maxsize=VOCABULARY)
def stem(word: str) -> str:
    """`word` in lower case without its English ending, so that `parsing` and `parsed` are one term."""
    word = word.lower()
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "i"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return _without_ending(word)


def _without_ending(word: str) -> str:
    for ending in ("ing", "ed", "e", "y"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and _VOWEL.search(rest):
            return _single(rest) if ending in ("ing", "ed") else rest + ("i" if ending == "y" else "")
    return word


def _single(rest: str) -> str:
    """`stopp` to `stop`, but `pass` and `call` as they are."""
    doubled = len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz"
    return (rest[:-1] if doubled else rest).removesuffix("e")


def terms(text: str) -> list[str]:
    """Stems of the words in `text`, in order; `lru_cache` and `OrderedDict` are two words each."""
    return [stem(word) for word in _WORD.findall(text)]
