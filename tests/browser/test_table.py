"""The table in the docs is that of these tests."""

from .scene import DISTURBANCES
from .table import DOC, cells_in, document


def test_the_table_has_a_result_for_everything_that_is_tested() -> None:
    cells = cells_in(DOC.read_text())
    assert set(cells) == {(name, way) for name, chosen in DISTURBANCES.items() for way in chosen.ways}
    assert document(cells) == DOC.read_text(), "write it with: python -m tests.browser.table"
