"""The table in the docs is that of these disturbances."""

from . import disturbances  # noqa: F401 - they say what there is
from .scene import DISTURBANCES
from .server import VERSIONS
from .table import COLUMNS, DOC, cells_in, document, line_in


def test_the_table_has_a_result_for_everything_that_is_tested() -> None:
    text = DOC.read_text(encoding="utf-8")
    cells = cells_in(text)
    wanted = {
        (name, version, way) for name in DISTURBANCES for version in VERSIONS for way in COLUMNS.values()
    }
    assert set(cells) == wanted, "write it with: python -m tests.gradio.table"
    assert document(text, cells, line_in(text)) == text, "write it with: python -m tests.gradio.table"
