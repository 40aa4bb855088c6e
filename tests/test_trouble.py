"""What goes wrong again and again is said at once, once a minute, and when it is over."""

import logging

import pytest

from penstock.errors import StoreUnavailable
from penstock.trouble import SAY_AGAIN_S, Trouble

GONE = StoreUnavailable("runs.db is gone.", hint="Put it back.")


class Scene:
    """One trouble, a clock that stands still, and what the log has."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 100.0
        self._caplog = caplog
        self.trouble = Trouble(logging.getLogger("penstock.test"), "Nothing works", clock=lambda: self.now)

    @property
    def said(self) -> list[str]:
        return self._caplog.messages


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Scene:
    return Scene(caplog)


def test_it_is_said_once_and_then_once_a_minute(scene: Scene) -> None:
    for _ in range(3 * int(SAY_AGAIN_S)):
        scene.trouble.met(GONE)
        scene.now += 1
    assert scene.said == ["Nothing works: runs.db is gone. Put it back."] * 3


def test_its_end_is_said_once(scene: Scene) -> None:
    scene.trouble.over()
    assert scene.said == []
    scene.trouble.met(GONE)
    scene.now += 42
    scene.trouble.over()
    scene.trouble.over()
    assert scene.said[1:] == ["Nothing works: that is over, after 42 s."]


def test_what_comes_and_goes_is_said_once_a_minute(scene: Scene) -> None:
    for _ in range(int(SAY_AGAIN_S)):
        scene.trouble.met(GONE)
        scene.trouble.over()
        scene.now += 1
    assert len(scene.said) == 2
    scene.trouble.met(GONE)
    assert len(scene.said) == 3


def test_a_fault_of_ours_comes_with_its_trace(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.trouble.met(ZeroDivisionError("ours"))
    assert scene.said == ["Nothing works."]
    assert caplog.records[0].exc_info
