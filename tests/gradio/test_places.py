"""A client's place in a session: told, sent back, and refused where it is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BadCursor
from penstock.integrations.gradio.sessions.places import MOST_PLACES, Place, Places, parse_places

IDS = st.text("0123456789abcdef", min_size=1, max_size=32)
EPOCHS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=32)
PLACES = st.builds(Place, EPOCHS, st.integers(0, 10**17), st.booleans())
CURSORS = st.builds(Places, IDS, st.integers(0, 10**14), st.dictionaries(IDS, PLACES, max_size=5))


@given(CURSORS)
def test_a_cursor_comes_back_as_it_was(places: Places) -> None:
    assert parse_places(str(places)) == places
    assert " " not in str(places)


def test_none_has_nothing_yet() -> None:
    assert parse_places("") == Places("", 0, {})


@given(st.text(min_size=1, max_size=80))
def test_anything_else_is_refused_by_name(text: str) -> None:
    told = ""
    try:
        parse_places(text)
    except BadCursor as error:
        told = error.field or "nothing"
    assert told in ("", "cursor")


@pytest.mark.parametrize(
    "text", ["abc", "abc.x", "abc.1,", "abc.1,e@epoch-1", "abc.1,e@epochepo-", "abc.1,e@epochepo-1**", "a.1 "]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="is not a cursor"):
        parse_places(text)


def test_a_cursor_is_bounded() -> None:
    many = {f"{number:x}": Place("epochepo", 1, based=False) for number in range(MOST_PLACES + 1)}
    with pytest.raises(BadCursor):
        parse_places(str(Places("life", 1, many)))
