"""Functions that something else executes: their runs are kept, shown and read like others, and never claimed."""

from typing import Any, Literal

from .function import Function

__all__ = ["RecordedFunction"]


def _elsewhere(data: list[Any], gradio: dict[str, Any] | None = None) -> None:
    """What a recorded run takes; nobody calls it."""
    raise AssertionError(f"a recorded function was called with {len(data)} values and {gradio!r}")


class RecordedFunction(Function):
    """A name for what is executed elsewhere, with what Penstock has to know of it. Made by `App.recorded`.

    Its runs are started by `Worker.record`. Its input is `{"data": [...], "gradio"?: {...}}`.
    """

    recorded = True

    def __init__(
        self,
        name: str,
        *,
        concurrency_limit: int | None = 1,
        concurrency_id: str | None = None,
        on_crash: Literal["fail", "retry"] = "fail",
        description: str = "",
    ) -> None:
        super().__init__(
            _elsewhere,
            name=name,
            concurrency_limit=concurrency_limit,
            concurrency_id=concurrency_id,
            on_crash=on_crash,
        )
        self.description = description
        self._given = concurrency_limit, concurrency_id, on_crash, description

    def is_as(
        self, concurrency_limit: int | None, concurrency_id: str | None, on_crash: str, description: str
    ) -> bool:
        """Whether it was made with these options."""
        return self._given == (concurrency_limit, concurrency_id, on_crash, description)

    @property
    def threaded(self) -> bool:
        """It takes no thread of ours."""
        return False
