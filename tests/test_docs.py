"""The documentation names everything there is, and what it generates is current."""

import re
from pathlib import Path

import pytest

import penstock
from penstock import errors, events, settings
from penstock.cli import build_parser
from penstock.server import routes

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
