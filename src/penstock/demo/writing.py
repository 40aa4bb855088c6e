"""Writing the answer: which sentences of the sources speak of the question, in what order, with citations."""

import math
import textwrap
from collections.abc import Iterator, Sequence

import msgspec

from .index import Group, Hit, Index
from .library import Entry
from .plan import Plan
from .prose import example, sentences, signature, summary
from .terms import terms

__all__ = ["Source", "compose", "is_answerable", "source_list", "unanswered"]

MIN_COVERAGE = 0.55
"""Below it a find shares a chance word with the question: those about cooking and sport reach 0.46."""

MAX_DETAILS = 3
"""Sentences quoted of one source after its first: a person reads that many before trying it."""

MAX_LEADS = 3
"""Names that are explained in full where a question asks about several."""

MAX_MEMBERS = 8
"""Names listed of a module."""

WIDTH = 96
"""Columns that text in lists is kept to."""


class Source(msgspec.Struct, frozen=True):
    """An entry that was read. `number` is how it is cited; `excerpt` is where its source begins, or empty."""

    number: int
    entry: Entry
    excerpt: str
    members: tuple[str, ...] = ()


def is_answerable(hits: Sequence[Hit]) -> bool:
    """Whether the best find speaks of the question rather than sharing a word with it."""
    return bool(hits) and hits[0].coverage >= MIN_COVERAGE


def compose(plan: Plan, index: Index, sources: Sequence[Source]) -> str:
    """The answer without its list of sources. `sources` are best first and not empty."""
    asked = [s for s in sources if any(s.entry.name.lower().endswith(name.lower()) for name in plan.names)]
    leads = (asked or list(sources))[: MAX_LEADS if len(asked) > 1 else 1]
    parts = [part for lead in leads for part in _explained(lead, plan, index)]
    others = [source for source in sources if source not in leads]
    if others:
        parts.append("See also:\n\n" + "\n".join(_mentioned(source, plan, index) for source in others))
    return "\n\n".join(parts)


def _explained(source: Source, plan: Plan, index: Index) -> Iterator[str]:
    entry = source.entry
    first = summary(entry)
    yield (
        f"`{entry.name}`: {first} [{source.number}]"
        if first
        else f"`{entry.name}` has no docstring. [{source.number}]"
    )
    if entry.kind not in ("module", "property") and (call := signature(entry)) != entry.name:
        yield _code(call)
    details = _details(entry, first, plan, index)
    if details:
        yield " ".join(details) + f" [{source.number}]"
    if source.members:
        yield f"It offers {', '.join(f'`{name}`' for name in source.members)}. [{source.number}]"
    if shown := example(entry.doc):
        yield f"From its documentation [{source.number}]:\n\n{_code(shown)}"
    elif not entry.doc and source.excerpt:
        yield f"Its source begins [{source.number}]:\n\n{_code(source.excerpt)}"


def _details(entry: Entry, first: str, plan: Plan, index: Index) -> list[str]:
    """The sentences that say most about the question, in the order in which they were written."""
    rest = [sentence for sentence in dict.fromkeys(sentences(entry.doc)) if sentence[:-1] not in first]
    scores = [relevance(sentence, plan, index) for sentence in rest]
    ranked = sorted(range(len(rest)), key=lambda i: (-scores[i], i))[:MAX_DETAILS]
    best = [i for i in ranked if scores[i] >= scores[ranked[0]] / 2]
    return [rest[i][:1].upper() + rest[i][1:] for i in sorted(best)]


def relevance(sentence: str, plan: Plan, index: Index) -> float:
    """How much a sentence speaks of the question: its ideas by rarity, long sentences somewhat less."""
    held = terms(sentence)
    words = set(held)
    found = sum(_said(group, words) * index.rarity(group.word) for group in plan.groups)
    return found / math.sqrt(12 + len(held))


def _said(group: Group, words: set[str]) -> float:
    # Squared: what merely means the same counts for less within a sentence than in a search.
    return max((weight**2 for term, weight in group.alternatives if term in words), default=0.0)


def _mentioned(source: Source, plan: Plan, index: Index) -> str:
    entry = source.entry
    first = summary(entry)
    best = max(sentences(entry.doc), key=lambda sentence: relevance(sentence, plan, index), default=first)
    more = relevance(best, plan, index) > 1.5 * relevance(first, plan, index) and best[:-1] not in first
    said = " ".join(part for part in (first, best if more else "") if part) or "no docstring."
    line = f"- `{entry.name}`: {said} [{source.number}]"
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _code(text: str) -> str:
    return textwrap.indent(text, "    ")


def source_list(sources: Sequence[Source]) -> str:
    """The numbered list that the citations point to."""
    return "Sources\n\n" + "\n".join(
        f"[{s.number}] `{s.entry.name}` ({s.entry.kind}), {_place(s.entry)}" for s in sources
    )


def _place(entry: Entry) -> str:
    where = f"{entry.path}:{entry.line}" if entry.path else "built in, read from its docstring"
    return (
        where if entry.kind == "module" or entry.module == "builtins" else f"module `{entry.module}`, {where}"
    )


def unanswered(plan: Plan, index: Index, version: str) -> str:
    """What is said when nothing was found: what was looked for, and names that are spelled alike."""
    if not plan.words:
        return (
            "Ask about something in the Python standard library, for example: How do I parse a JSON string?"
        )
    said = (
        f"I found nothing about this in the documentation of the Python {version} standard library.\n\n"
        f"I searched {len(index.entries):,} entries for: {', '.join(plan.words)}."
    )
    near = list(dict.fromkeys(name for word in (plan.names or plan.words) for name in index.near(word)))
    listed = "\n".join(f"- `{name}`" for name in near[:MAX_MEMBERS])
    return f"{said}\n\nNames that are spelled alike:\n\n{listed}" if near else said
