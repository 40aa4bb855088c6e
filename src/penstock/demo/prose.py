"""Docstrings as prose: their sentences, their examples and their first line, made fit to be quoted."""

import ast
import re
import textwrap
from collections.abc import Iterator

from .library import Entry
from .parsed import syntax_tree

__all__ = ["example", "sentences", "signature", "summary"]

MAX_SENTENCE_CHARS = 360
"""Longer ones are lists or tables that lost their line breaks."""

MAX_EXAMPLE_LINES = 10
"""What fits on a screen beside the rest of an answer."""

MAX_SIGNATURE_CHARS = 96
"""A longer signature is written with one parameter a line."""

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!eg\.)(?<!i\.e\.)(?<!etc\.)\s+(?=[A-Z`'\"(*])")
_ROLE = re.compile(r":(?:\w+:)?\w+:`~?([^`<]+?)`")
_RULE = re.compile(r"[-=~*^#_]{4,}")
_LAID_OUT = re.compile(
    r"[-=~*^#_]{4,}|\S {3,}\S|^\s*(?:[-*+•]|\d+[.)])\s+|^\s*\w+\s+--?\s"
    r"|^\s*(?:Args|Returns|Raises|Parameters):\s*$"
    r"|\A\s*[\w.]+ = ",
    re.MULTILINE,
)
"""Signs of rules, tables, lists, parameter lists and code."""
_CODE = re.compile(r"[\w.]+ = ")
_CALL = re.compile(r"^[\w.]+\(.*?\)\s*(?:(?:-+>|=>|→)\s*(.*)|:)?\s*$")


def sentences(doc: str) -> Iterator[str]:
    """Whole sentences, in order, of the paragraphs that are prose: not code, tables or lists."""
    for paragraph in _PARAGRAPH.split(textwrap.dedent(doc)):
        if _is_prose(paragraph):
            yield from (s for s in _SENTENCE.split(_clean(paragraph)) if _whole(s))


def _is_prose(paragraph: str) -> bool:
    lines = paragraph.strip("\n").splitlines()
    return bool(lines) and not (
        ">>>" in paragraph
        or paragraph.rstrip().endswith("::")
        or lines[0].startswith(("    ", "\t"))
        or _LAID_OUT.search(paragraph)
        or (len(lines) > 1 and len(lines[0].split()) == 1 and _indent(lines[1]) > _indent(lines[0]))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _clean(paragraph: str) -> str:
    text = _ROLE.sub(r"`\1`", " ".join(" ".join(_without_calls(paragraph)).split())).replace("``", "`")
    return text.replace(" -> ", " → ")


def _without_calls(paragraph: str) -> list[str]:
    """The paragraph's lines without the signatures that old docstrings begin with."""
    rest = paragraph.strip().splitlines()
    called = False
    while rest and (_CALL.match(rest[0].strip()) or (called and rest[0].startswith("    "))):
        rest.pop(0)
        called = True
    return rest


def _whole(sentence: str) -> bool:
    elsewhere = sentence.endswith(("below.", "above."))
    return (
        not elsewhere
        and len(sentence) <= MAX_SENTENCE_CHARS
        and sentence[-1:] in ".!?"
        and len(sentence.split()) >= 3
    )


def summary(entry: Entry) -> str:
    """The first sentence of the docstring, ending in a full stop; empty where there is none."""
    for paragraph in _PARAGRAPH.split(textwrap.dedent(entry.doc)):
        text = _clean(paragraph)
        if len(text.split()) >= 2 and ">>>" not in text and not _RULE.search(text) and not _CODE.match(text):
            return _stopped(_SENTENCE.split(text)[0])
    call = _CALL.match(entry.doc.partition("\n")[0].strip())
    return _stopped(call[1]) if call and call[1] else ""


def _stopped(sentence: str) -> str:
    shown = textwrap.shorten(sentence, MAX_SENTENCE_CHARS, placeholder=" …").rstrip(".:;, ")
    return f"{shown[:1].upper()}{shown[1:]}." if shown.partition(" ")[0].isalpha() else f"{shown}."


def example(doc: str) -> str:
    """The first doctest, or the first indented block that is Python; empty where there is neither."""
    return _doctest(doc) or _block(doc)


def _doctest(doc: str) -> str:
    lines = textwrap.dedent(doc).splitlines()
    start = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>>")), len(lines))
    taken: list[str] = []
    for line in lines[start : start + MAX_EXAMPLE_LINES]:
        if taken and not taken[-1].strip() and not line.lstrip().startswith(">>>"):
            break
        taken.append(line)
    while taken and taken[-1].lstrip().startswith((">>> for ", ">>> def ", ">>> class ", ">>> with ", "...")):
        taken.pop()
    return textwrap.dedent("\n".join(taken)).strip()


def _block(doc: str) -> str:
    for paragraph in _PARAGRAPH.split(textwrap.dedent(doc)):
        code = textwrap.dedent(paragraph.strip("\n"))
        indented = paragraph.strip("\n").startswith("    ")
        if indented and code.count("\n") < MAX_EXAMPLE_LINES and _is_python(code):
            return code.strip()
    return ""


def _is_python(code: str) -> bool:
    """It parses and does something: prose of one word parses too."""
    try:
        body = syntax_tree(code).body
    except (SyntaxError, ValueError):
        return False
    return any(
        not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call | ast.Await) for node in body
    )


def signature(entry: Entry) -> str:
    """How it is called, one parameter a line where it is long; the bare name where that isn't known."""
    call = _parameters(entry)
    if call is None:
        return entry.name
    prefix = "async " if entry.header.startswith("async ") else ""
    line = f"{prefix}{entry.name}({', '.join(call)})"
    if len(line) <= MAX_SIGNATURE_CHARS:
        return line
    return f"{prefix}{entry.name}(\n" + "".join(f"    {part},\n" for part in call) + ")"


def _parameters(entry: Entry) -> list[str] | None:
    if not entry.header or entry.kind in ("property", "module"):
        return None
    try:
        arguments = syntax_tree(entry.header.rstrip(": \n") + ": pass").body[0].args  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, AttributeError):
        return None
    parts = _written(arguments)
    if parts and parts[0] in ("self", "cls"):
        return parts[2:] if parts[1:2] == ["/"] else parts[1:]
    return parts


def _written(arguments: ast.arguments) -> list[str]:
    """Each parameter as source, with the `/` and `*` that stand between them."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    parts = [_one(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg or arguments.kwonlyargs:
        parts.append(f"*{arguments.vararg.arg}" if arguments.vararg else "*")
    parts += [_one(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [*parts, f"**{arguments.kwarg.arg}"] if arguments.kwarg else parts


def _one(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"
