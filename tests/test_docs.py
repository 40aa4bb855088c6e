"""The documentation names everything there is, and what it generates is current."""

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import penstock
from penstock import errors, events, settings
from penstock.cli import build_parser
from penstock.server import routes
from penstock.testing import ServerProcess
from penstock.worker import ending
from penstock.worker.options import Options

ROOT = Path(__file__).parent.parent
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
ALL = "\n".join([*DOCS.values(), (ROOT / "README.md").read_text(encoding="utf-8")])


def test_settings_page_is_current() -> None:
    """`docs/settings.md` holds the table that `settings.as_markdown` makes."""
    assert settings.as_markdown() in DOCS["settings.md"], "paste penstock.settings.as_markdown() into it"


@pytest.mark.parametrize("code", [getattr(errors, name).code for name in errors.__all__])
def test_error_codes_are_documented(code: str) -> None:
    """Every code that a caller can see is on some page; roots of the tree and the client's own are not sent."""
    if code not in {"error", "fenced", "config", "client", "run_failed", "connection_lost", "protocol_error"}:
        assert f"`{code}`" in ALL


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r'Route\("(/[^"]*)"', Path(routes.__file__).read_text())))
)
def test_routes_are_documented(path: str) -> None:
    """PROTOCOL.md lists every route."""
    assert f" {path}" in DOCS["PROTOCOL.md"]


@pytest.mark.parametrize("kind", events.AnyEvent.__args__)
def test_event_types_are_documented(kind: type[events.Event]) -> None:
    """PROTOCOL.md has every type with its members."""
    tag = kind.__struct_config__.tag
    (row,) = re.findall(rf"^\| `{tag}` \|.*$", DOCS["PROTOCOL.md"], flags=re.MULTILINE)
    own = set(kind.__struct_fields__) - set(events.Event.__struct_fields__)
    assert all(f"`{name}`" in row for name in own)


@pytest.mark.parametrize("code", [*ending._ENDS, "process_died"])
def test_end_codes_are_documented(code: str) -> None:
    """PROTOCOL.md has every reason for which a run ends that did not end by itself."""
    assert f"`{code}`" in DOCS["PROTOCOL.md"]


def test_every_member_of_an_event_is_documented() -> None:
    """Also those that all events have."""
    assert all(f"`{name}`" in DOCS["PROTOCOL.md"] for name in events.Event.__struct_fields__)


@pytest.mark.parametrize("option", msgspec.structs.fields(Options), ids=lambda option: option.name)
def test_options_are_documented(option: Any) -> None:
    """queue.md has a row for each option of `@app.function`, with its default."""
    default = f'"{option.default}"' if isinstance(option.default, str) else repr(option.default)
    assert f"\n| `{option.name}` | `{default}` | " in DOCS["queue.md"]


def test_the_options_page_has_no_others() -> None:
    (table,) = re.findall(r"\| option \| default \| meaning \|\n.*\n((?:\|.*\n)+)", DOCS["queue.md"])
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == list(Options.__struct_fields__)


EXAMPLES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "answer": ({"question": "Why?"}, "You asked: Why?", None),
    "draw": ({"what": "a mill"}, "", "a picture of a mill"),
    "upscale": ({"picture": "it"}, "", "it, larger"),
    "count_words": ({"text": "one two"}, "", 2),
    "chat": ({"message": "hello"}, "HELLO", None),
    "report": ({"user": "ada", "month": 5}, "ada, 5", None),
    "translate": ({"text": "yes", "urgent": True}, "yes", None),
    "embed": ({"text": "four"}, "1 together", None),
    "complete": ({"text": "a b"}, "a b ", None),
    "crunch": ({"numbers": [1, 2]}, "", 3),
    "render": ({"scene": "dawn"}, "rendering dawn", None),
    "research": ({"topic": "mills"}, "Reading about mills", None),
    "expensive": ({"question": "it"}, "Thinking about it", None),
    "translate_book": ({"paragraphs": ["a", "b"]}, "« a »\n« b »\n", None),
}
"""What queue.md registers: an input, the text and the result."""


def test_the_examples_of_the_queues_page_run(tmp_path: Path) -> None:
    """Its pieces of Python are one file."""
    pieces = re.findall(r"```python\n(.*?)```", DOCS["queue.md"], flags=re.DOTALL)
    (tmp_path / "app.py").write_text("\n\n".join(pieces), encoding="utf-8")
    with (
        ServerProcess("app.py", "--grace-s", "0", cwd=tmp_path) as server,
        penstock.Client(server.url) as client,
    ):
        assert [function["name"] for function in client.functions()] == list(EXAMPLES)
        runs = {name: client.submit(name, given) for name, (given, _, _) in EXAMPLES.items()}
        assert {name: (run.text(), run.result()) for name, run in runs.items()} == {
            name: (text, result) for name, (_, text, result) in EXAMPLES.items()
        }
        (value,) = [event.value for event in runs["embed"].events() if isinstance(event, events.Json)]
        assert value == {"vector": [4.0]}


FEATURE = re.compile(r"\[tests/[^\]]+\]\(\.\./(tests/[^)]+)\)((?:,? `test_\w+`)+)")


def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_each_feature_names_its_test() -> None:
    """Each row of the feature table names a test of ours that exists, or says that we have no such thing."""
    for file, names in FEATURE.findall(DOCS["queue.md"]):
        assert set(re.findall(r"`(\w+)`", names)) <= _tests_in(ROOT / file), f"{file}: {names}"
    rows = [
        line for line in DOCS["queue.md"].splitlines() if line.startswith("| ") and line.count(" | ") == 6
    ]
    assert len(rows) > 40
    for row in rows:
        ours = row.strip("| ").rpartition(" | ")[2]
        heading = row.startswith(("| **", "| ---", "| | "))
        assert heading or FEATURE.search(ours) or ours.startswith("no: "), row


def test_commands_are_documented() -> None:
    """cli.md has every command, and no others."""
    listed = set(re.findall(r"^\| `penstock (\w+)", DOCS["cli.md"], flags=re.MULTILINE))
    (commands,) = [a for a in build_parser()._actions if getattr(a, "choices", None)]
    assert listed == set(commands.choices or ())


def test_public_names_are_documented() -> None:
    """Every public name is used somewhere in the docs."""
    for name in penstock.__all__:
        assert name in ALL or name == "__version__"


def test_links_lead_somewhere() -> None:
    """Relative links of the README and the docs name files that exist."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
