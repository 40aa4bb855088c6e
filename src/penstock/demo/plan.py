"""From a question to what is searched for: its words, other words for them, and names."""

import re

import msgspec

from .index import Group
from .terms import NAME, STOP_WORDS, stem

__all__ = ["Plan", "make_plan"]

ALTERNATIVE_WEIGHT = 0.6
"""What a synonym counts for, against the word itself."""

MAX_WORDS = 24
"""Words of a question that are looked up, so that a pasted page costs no more than a long question."""


class Plan(msgspec.Struct, frozen=True):
    """What is searched for.

    words: what the question is about. names: Python names written in it. hints: full names it brings to mind.
    """

    words: tuple[str, ...]
    groups: tuple[Group, ...]
    names: tuple[str, ...]
    hints: tuple[str, ...]


SYNONYMS = {
    "abort": "cancel terminate",
    "argument": "parameter argv parser",
    "array": "list sequence",
    "async": "asyncio coroutine",
    "cache": "memoize lru",
    "catch": "except suppress",
    "clock": "time counter",
    "combination": "combinations product permutations",
    "command": "process args",
    "compress": "gzip zlib bz2 zip",
    "concurrent": "gather parallel executor",
    "convert": "parse return",
    "copy": "duplicate copytree",
    "count": "counter occurrences",
    "date": "datetime",
    "decode": "deserialize loads",
    "delete": "remove unlink rmtree",
    "dictionary": "dict mapping",
    "directory": "folder dir path",
    "download": "urlopen retrieve http",
    "encode": "serialize dumps",
    "environment": "environ getenv",
    "executable": "program command",
    "fast": "performance timeit",
    "find": "search locate match",
    "flatten": "iterable iterables chain",
    "folder": "directory dir",
    "hash": "digest sha256 hashlib",
    "immutable": "frozen namedtuple",
    "join": "concatenate",
    "largest": "nlargest max",
    "measure": "perf_counter timeit",
    "memoize": "cache lru",
    "merge": "combine join update",
    "nest": "recursive inner",
    "parallel": "concurrent executor pool",
    "parse": "loads deserialize decode read",
    "password": "getpass secret",
    "pause": "sleep",
    "permutation": "permutations combinations",
    "print": "write output pprint",
    "priority": "heap heapq",
    "random": "choice randint shuffle",
    "regex": "regular re pattern",
    "regular": "re pattern",
    "rename": "replace move",
    "request": "urlopen http",
    "round": "quantize nearest",
    "run": "execute call",
    "schedule": "sched later",
    "shell": "process command",
    "shuffle": "random permute",
    "slice": "islice",
    "smallest": "nsmallest min",
    "sort": "sorted order",
    "split": "separate partition",
    "stop": "terminate cancel kill",
    "subprocess": "process command",
    "temporary": "tempfile tmp",
    "text": "string str",
    "thread": "threading",
    "timezone": "tzinfo zoneinfo",
    "unique": "distinct set",
    "unzip": "extract zipfile",
    "wait": "sleep timeout",
    "zip": "archive zipfile",
}
"""Words people ask with, and the words the library's documentation uses for the same."""

HINTS = {
    "abstract base": "abc.ABC abc.abstractmethod",
    "arguments command line": "argparse.ArgumentParser argparse",
    "binary search": "bisect.bisect_left bisect",
    "cache": "functools.lru_cache functools.cache",
    "copy file": "shutil.copy shutil.copyfile",
    "count items": "collections.Counter",
    "count words": "collections.Counter",
    "csv read": "csv.reader csv.DictReader",
    "csv write": "csv.writer csv.DictWriter",
    "dataclass": "dataclasses.dataclass dataclasses.field",
    "date parse": "datetime.datetime.strptime datetime.datetime.fromisoformat",
    "date format": "datetime.date.strftime",
    "default dictionary": "collections.defaultdict",
    "delete directory": "shutil.rmtree",
    "download": "urllib.request.urlopen",
    "enum": "enum.Enum",
    "environment variable": "os.getenv",
    "fetch url": "urllib.request.urlopen",
    "flatten": "itertools.chain.from_iterable itertools.chain",
    "hash file": "hashlib.file_digest hashlib.sha256",
    "json parse": "json.loads json.load",
    "json read": "json.load json.loads",
    "json write": "json.dump json.dumps",
    "list directory": "os.listdir os.scandir pathlib.Path.iterdir",
    "list files": "os.listdir pathlib.Path.iterdir pathlib.Path.glob",
    "measure": "time.perf_counter timeit.timeit",
    "memoize": "functools.lru_cache functools.cache",
    "priority queue": "heapq queue.PriorityQueue",
    "random number": "random.randint random.random",
    "regular replace": "re.sub",
    "remove duplicates": "set dict.fromkeys",
    "run command": "subprocess.run",
    "run subprocess": "subprocess.run",
    "send email": "smtplib smtplib.SMTP.send_message",
    "sort list": "sorted list.sort",
    "split string": "str.split",
    "temporary directory": "tempfile.TemporaryDirectory",
    "temporary file": "tempfile.NamedTemporaryFile tempfile.TemporaryFile",
    "thread pool": "concurrent.futures.ThreadPoolExecutor",
    "walk directory": "os.walk",
}
"""Words that together mean one known thing. They only lift what a search may find anyway."""

_STEMMED_SYNONYMS = {stem(word): tuple(map(stem, others.split())) for word, others in SYNONYMS.items()}
_STEMMED_HINTS = {frozenset(map(stem, words.split())): names.split() for words, names in HINTS.items()}
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|\d+")
_CALLED = re.compile(r"`([\w.]+)(?:\(\))?`|\b([\w.]+)\(\)")


def make_plan(question: str) -> Plan:
    """What to look for. A question of stop words only gives a plan without words."""
    words = _words(question)
    stems = frozenset(_hint_stems(words))
    hints = [name for needed, names in _STEMMED_HINTS.items() if needed <= stems for name in names]
    groups = tuple(Group(stem(word), _alternatives(word)) for word in words)
    return Plan(words, groups, tuple(_names(question, words)), tuple(dict.fromkeys(hints)))


def _words(question: str) -> tuple[str, ...]:
    found = (word for word in _WORD.findall(question.replace("_", " ")) if word.lower() not in STOP_WORDS)
    unlike = {stem(word): word for word in reversed([w for w in found if len(w) > 1])}
    return tuple(reversed(unlike.values()))[:MAX_WORDS]


def _hint_stems(words: tuple[str, ...]) -> list[str]:
    """The words' stems, with the synonyms that are plain other names (folder, directory)."""
    return [s for word in words for s in (stem(word), *_STEMMED_SYNONYMS.get(stem(word), ())[:1])]


def _alternatives(word: str) -> tuple[tuple[str, float], ...]:
    own = stem(word)
    return ((own, 1.0), *((other, ALTERNATIVE_WEIGHT) for other in _STEMMED_SYNONYMS.get(own, ())))


def _names(question: str, words: tuple[str, ...]) -> list[str]:
    """Names that are meant as such: dotted, with an underscore or a capital inside, called, or alone."""
    called = [a or b for a, b in _CALLED.findall(question)]
    written = [name for name in NAME.findall(question) if "." in name or "_" in name or _camel(name)]
    alone = list(words) if len(words) == 1 else []
    return list(dict.fromkeys(name.strip(".") for name in [*called, *written, *alone]))


def _camel(name: str) -> bool:
    return name[1:] != name[1:].lower() and name != name.upper()
