"""What a page shows and what its generator did, after a disturbance, and that in a few words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LOOK", "WATCH", "Did", "Seen", "did"]

WATCH = """
if (window === top && location.protocol.startsWith('http')) {
  sessionStorage.faultyLoads = 1 + Number(sessionStorage.faultyLoads ?? 0);
  const look = () => document.querySelectorAll('[data-testid="toast-body"]').forEach((toast) => {
    const told = new Set(JSON.parse(sessionStorage.faultyTold ?? '[]'));
    const longest = toast.innerText.split('\\n').reduce((a, b) => b.length > a.length ? b : a).trim();
    sessionStorage.faultyTold = JSON.stringify([...told.add(longest)]);
  });
  addEventListener('DOMContentLoaded', () =>
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true }));
}
"""
"""Runs before anything else on a page: counts how often it is loaded, and keeps what is put before people."""

LOOK = """(() => {
  const value = (id) => document.querySelector(`#${id} textarea, #${id} input`)?.value ?? null;
  return {
    loads: Number(sessionStorage.faultyLoads),
    messages: JSON.parse(sessionStorage.faultyTold ?? '[]').concat(
      [...document.querySelectorAll('span.error')].slice(0, 1).map((mark) => mark.innerText.trim())),
    prompt: value('prompt'), unsent: value('unsent'), told: value('told'), words: value('words'),
    next_told: value('next-told'), counted: value('counted'),
  };
})()"""


def text_of(words: int) -> str:
    """The story so far."""
    return " ".join(f"word{step}" for step in range(1, words + 1))


@dataclass(frozen=True)
class Did:
    """How far a generator got, how often it began, and whether it came to its end."""

    step: int = 0
    begun: int = 0
    ended: bool = False
    closed: bool = False


def did(notes: Path, name: str) -> Did:
    path = notes / f"{name}.jsonl"
    at = [json.loads(line)["at"] for line in path.read_text().splitlines()] if path.exists() else []
    steps = [step for step in at if isinstance(step, int)]
    return Did(max(steps, default=0), at.count("start"), "end" in at, bool(at) and at[-1] == "closed")


@dataclass(frozen=True)
class Seen:
    """A page after a disturbance.

    shown: words of the story that it shows; -1 if it is not a beginning of it.
    steps: words that the story has.
    reloads: how often it was loaded anew, except by the test.
    chained: what comes after the story came.
    inputs, unsent: what was typed is still there, sent or not.
    state: gr.State went on from where it was.
    presses: how often a button was pressed until it did something; 0 if it never did.
    messages: what it put before people.
    """

    shown: int
    steps: int
    reloads: int
    chained: bool
    inputs: bool
    unsent: bool
    state: bool
    presses: int
    messages: tuple[str, ...]
    ran: Did

    @property
    def whole(self) -> bool:
        """Nothing is missing, and nobody noticed."""
        kept = self.chained and self.inputs and self.unsent and self.state and self.presses == 1
        return kept and self.shown == self.steps and not self.reloads and self.ran.begun == 1

    def words(self) -> str:
        """It in a few words."""
        if self.whole:
            return f"{self.steps} of {self.steps}, nothing lost" + self._messages()
        return ", ".join(part for part in self._parts() if part) + self._messages()

    def _parts(self) -> list[str]:
        gone = [name for name, kept in self._kept().items() if not kept]
        return [
            {0: "", 1: "reloads itself"}.get(self.reloads, f"reloads itself {self.reloads} times"),
            "story garbled" if self.shown < 0 else f"{self.shown} of {self.steps}",
            "" if self.ran.ended else f"run killed at {self.ran.step}",
            "" if self.ran.begun < 2 else f"run {self.ran.begun} times",
            f"{' and '.join(gone)} gone" if gone else "",
            "" if self.chained or self.shown < self.steps else "what comes after it never came",
            {0: "buttons dead", 1: ""}.get(self.presses, f"buttons work at press {self.presses}"),
        ]

    def _kept(self) -> dict[str, bool]:
        both = {"inputs": self.inputs and self.unsent} if self.inputs == self.unsent else {
            "sent input": self.inputs, "unsent input": self.unsent,
        }  # fmt: skip
        return {**both, "gr.State": self.state} if self.presses else both

    def _messages(self) -> str:
        """The first sentence of each."""
        sentences = dict.fromkeys(
            " ".join(text.split()).partition(". ")[0].rstrip(".") for text in self.messages
        )
        return "".join(f'; "{sentence}"' for sentence in sentences)


def seen(look: dict[str, Any], before: dict[str, Any], steps: int, ran: Did, **more: Any) -> Seen:
    """From two looks at the page, before the disturbance and after it."""
    words = len((look["told"] or "").split())
    return Seen(
        shown=words if look["told"] == text_of(words) else -1,
        steps=steps,
        reloads=look["loads"] - before["loads"],
        chained=look["words"] == str(steps),
        inputs=look["prompt"] == before["prompt"],
        unsent=look["unsent"] == before["unsent"],
        messages=tuple(look["messages"]),
        ran=ran,
        **more,
    )
