"""A pretended world for the rule of merging: a generator, Gradio that takes time over each value, and a clock."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.integrations.gradio.merging.latest import Latest


@dataclass
class Component:
    """What a component of Gradio is, as far as merging looks at it."""

    _id: int
    stateful: bool = False

    def __hash__(self) -> int:
        return self._id


@dataclass
class Given:
    """A value that Gradio was given."""

    value: Any
    at_s: float
    meanwhile: Any = None
    """What it had become by the time that Gradio was through with it."""


@dataclass
class World:
    """Runs a generator that takes `runs_s[n]` for its nth value, and Gradio, which takes `prepares_s` over each.

    `yields` are called when the generator goes on, and give the value that it yields at the end of the step.
    """

    latest: Latest
    yields: Sequence[Callable[[], Any]]
    runs_s: Sequence[float]
    prepares_s: float = 0.0
    error: BaseException = field(default_factory=StopAsyncIteration)
    now_s: float = 0.0
    yielded: list[Given] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)

    _step: int = -1
    _value: Any = None
    _busy_until_s: float | None = None

    def play(self) -> BaseException:
        """To the end; what it ended with."""
        while True:
            self.latest.ask(self.now_s)
            self._wait()
            try:
                value = self.latest.take(self.now_s)
            except BaseException as error:  # noqa: BLE001 - it is what is asked for
                return error
            self.given.append(given := Given(copy.deepcopy(value), self.now_s))
            self._pass_until(self.now_s + self.prepares_s)
            given.meanwhile = copy.deepcopy(value)

    def _wait(self) -> None:
        while not self.latest.ready(self.now_s):
            if self._busy_until_s is None and self.latest.runs_on:
                self._go_on()
            news = [self._busy_until_s] if self._busy_until_s is not None else []
            self._pass_until(min([*news, *([self.latest.due_s] if self.latest.due_s > self.now_s else [])]))

    def _pass_until(self, then_s: float) -> None:
        while self._busy_until_s is not None and self._busy_until_s <= then_s:
            self.now_s = self._busy_until_s
            self._yield()
        self.now_s = max(self.now_s, then_s)

    def _go_on(self) -> None:
        self._step += 1
        if self._step == len(self.yields):
            self._busy_until_s = None
            self.latest.end(self.error)
            return
        self._value = self.yields[self._step]()
        self._busy_until_s = self.now_s + self.runs_s[self._step]

    def _yield(self) -> None:
        self._busy_until_s = None
        self.yielded.append(Given(copy.deepcopy(self._value), self.now_s))
        if self.latest.offer(self._value, self.now_s):
            self._go_on()
