"""A search index over the library: BM25 with weighted fields, in memory, in plain Python.

Ten thousand short documents need no database: one code path ranks alike on every interpreter, with or
without SQLite's FTS5, and the weights of names against prose are ours to set.
"""

import difflib
import math
import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

import msgspec

from .library import Entry, collect
from .terms import terms

__all__ = ["Group", "Hit", "Index", "Shared"]

K1 = 1.2
"""How soon repeating a term stops to count: the value most BM25 engines start from."""

LENGTH_PART = 0.6
"""How much of a body's length is held against it (BM25's b): long docstrings are good ones, so under 0.75."""

BODY_TERMS = 45
"""Mean number of terms in a docstring's body, as measured on Python 3.11."""

WEIGHTS = {"name": 4.0, "module": 2.0, "summary": 2.5, "parameters": 0.8, "body": 1.0}
"""What a term counts for, by where it stands. A name is chosen with more care than a sentence."""

UNDOCUMENTED, UNLISTED, INNER, RARE = 0.45, 0.6, 0.85, 0.5
"""Factors for entries without docstring, outside `__all__`, inside a class, in modules seldom asked about."""

_RARE_MODULES = """
    aifc ast asynchat asyncore audioop bdb cgi cgitb chunk compileall crypt ctypes curses dis
    doctest filecmp formatter ftplib imaplib imghdr imp importlib mailbox mailcap modulefinder
    msilib multiprocessing nis nntplib optparse ossaudiodev pdb pickletools pipes pkgutil plistlib
    poplib profile pyclbr pydoc runpy site smtpd sndhdr spwd sunau symtable tabnanny telnetlib
    tkinter trace tracemalloc turtle unittest uu venv wsgiref xdrlib xml xmlrpc zipapp
"""
RARE_MODULES = frozenset(_RARE_MODULES.split())
"""Gone from newer Pythons, or so specialised that a question would name them."""

EXACT = 30.0
"""Added for an entry whose name was written out in the question: nothing else may outrank it."""

HINTED = 12.0
"""Added for an entry that the plan thinks of by name: about what two words score in a good name."""


class Group(msgspec.Struct, frozen=True):
    """One idea of a question: a term, and others for the same with a weight under 1 each."""

    word: str
    alternatives: tuple[tuple[str, float], ...]


class Hit(msgspec.Struct, frozen=True):
    """An entry found. `coverage`, 0 to 1, is how much of the question it speaks of by rarity."""

    entry: Entry
    score: float
    coverage: float


class Index:
    """Built once from entries, read-only afterwards, so any number of threads may search it."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.by_name: dict[str, list[int]] = defaultdict(list)
        self._postings: dict[str, tuple[array[int], array[float]]] = {}
        self._factors = array("f", map(_factor, entries))
        for number, entry in enumerate(entries):
            self._add(number, entry)

    @property
    def terms(self) -> int:
        """Number of different terms."""
        return len(self._postings)

    def _add(self, number: int, entry: Entry) -> None:
        self.by_name[entry.name.lower()].append(number)
        last = entry.name.rpartition(".")[2].lower()
        if last != entry.name.lower():
            self.by_name[last].append(number)
        for term, count in _counts(entry).items():
            documents, impacts = self._postings.setdefault(term, (array("l"), array("f")))
            documents.append(number)
            impacts.append(count * (K1 + 1) / (count + K1))

    def rarity(self, term: str) -> float:
        """BM25's inverse document frequency; highest for a term no document has."""
        found = len(self._postings[term][0]) if term in self._postings else 0
        return math.log(1 + (len(self.entries) - found + 0.5) / (found + 0.5))

    def search(
        self, groups: Sequence[Group], names: Iterable[str] = (), hints: Iterable[str] = (), limit: int = 10
    ) -> list[Hit]:
        """The best `limit` entries for a question, best first.

        groups: its ideas. names: written out in it, dotted or not. hints: full names it brings to mind.
        """
        rarities = [self.rarity(group.word) for group in groups]
        scores: dict[int, float] = defaultdict(float)
        covered: dict[int, float] = defaultdict(float)
        for group, rarity in zip(groups, rarities, strict=True):
            for number, impact in self._group(group).items():
                scores[number] += impact * rarity
                covered[number] += rarity
        whole = sum(rarities) or 1.0
        final = {n: s * self._factors[n] * (0.3 + 0.7 * covered[n] / whole) for n, s in scores.items()}
        named = self._lift(final, hints, HINTED) | self._lift(final, names, EXACT)
        best = sorted(final.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return [
            Hit(self.entries[n], round(score, 2), 1.0 if n in named else covered[n] / whole)
            for n, score in best
        ]

    def _group(self, group: Group) -> dict[int, float]:
        best: dict[int, float] = {}
        for term, weight in group.alternatives:
            documents, impacts = self._postings.get(term, ((), ()))
            for number, impact in zip(documents, impacts, strict=True):
                best[number] = max(best.get(number, 0.0), impact * weight)
        return best

    def named(self, name: str) -> list[int]:
        """Entries with this full name, or else those whose name ends in it. Case does not matter."""
        found = self.by_name.get(name.lower(), [])
        return [number for number in found if self.entries[number].name.lower() == name.lower()] or found

    def _lift(self, scores: dict[int, float], names: Iterable[str], by: float) -> set[int]:
        lifted = {number for name in names for number in self.named(name)}
        for number in lifted:
            scores[number] = scores.get(number, 0.0) + by * self._factors[number]
        return lifted

    def members(self, module: Entry, limit: int = 8) -> tuple[str, ...]:
        """Names of what a module offers: its listed functions and classes, the well documented first."""
        own = [
            e
            for e in self.entries
            if e.module == module.name and e.listed and e.kind in ("function", "class")
        ]
        own.sort(key=lambda entry: -len(entry.doc))
        return tuple(sorted(entry.name for entry in own[:limit]))

    def near(self, word: str, limit: int = 5) -> list[str]:
        """Full names that are spelled like `word`; for when nothing was found."""
        close = difflib.get_close_matches(word.lower(), self.by_name, n=limit, cutoff=0.72)
        found = (max(self.by_name[name], key=self._factors.__getitem__) for name in close)
        return list(dict.fromkeys(self.entries[number].name for number in found))


def _factor(entry: Entry) -> float:
    factor = 1.0 if entry.doc else UNDOCUMENTED
    factor *= 1.0 if entry.listed else UNLISTED
    factor *= RARE if entry.module.partition(".")[0] in RARE_MODULES else 1.0
    return factor * (1.0 if entry.kind in ("function", "class", "module") else INNER)


def _counts(entry: Entry) -> dict[str, float]:
    """Each term of an entry with how often it stands there, weighted by field."""
    summary, body = _split(entry.doc)
    body_terms = terms(body)
    body_weight = WEIGHTS["body"] / (1 - LENGTH_PART + LENGTH_PART * len(body_terms) / BODY_TERMS)
    counts: dict[str, float] = defaultdict(float)
    own = entry.name.rpartition(".")[2]
    for words, weight in (
        ({*terms(own), *terms(own.lower()), own.lower()}, WEIGHTS["name"]),
        ({*terms(entry.name.rpartition(".")[0]), entry.module}, WEIGHTS["module"]),
        (set(terms(summary)), WEIGHTS["summary"]),
        (set(terms(" ".join(entry.parameters))), WEIGHTS["parameters"]),
        (body_terms, body_weight),
    ):
        for word in words:
            counts[word] += weight
    return counts


def _split(doc: str) -> tuple[str, str]:
    summary, _, body = doc.strip().partition("\n\n")
    return summary[:SUMMARY_CHARS], summary[SUMMARY_CHARS:] + "\n" + body


SUMMARY_CHARS = 300
"""A first paragraph longer than this is prose, not a summary."""


class Shared:
    """The one index of this process: built by the first who asks, in a thread, and then kept.

    done, total: source files read so far and in all. built_s: how long the build took, None before its end.
    """

    def __init__(self, entries: Callable[[Callable[[int, int], None]], Sequence[Entry]] = collect) -> None:
        self._collect = entries
        self._lock = threading.Lock()
        self._future: Future[Index] | None = None
        self.done = 0
        self.total: int | None = None
        self.built_s: float | None = None

    def start(self) -> Future[Index]:
        """The index, or the promise of it. Never blocks. A build that failed is begun again."""
        with self._lock:
            if self._future is None or (self._future.done() and self._future.exception()):
                with_thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-demo-index")
                self._future = with_thread.submit(self._build)
                with_thread.shutdown(wait=False)
            return self._future

    def _build(self) -> Index:
        started = perf_counter()
        index = Index(self._collect(self._progress))
        self.built_s = perf_counter() - started
        return index

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total
