"""A viewer of agents' traces, as a Gradio app: three agents at once, each with its steps as they come.

    python examples/gradio_trace_viewer.py --plain    # Gradio as it comes
    python examples/gradio_trace_viewer.py            # the same app, hardened with one line

Run all three, then reload the page, pull the network, or stop the server with Ctrl-C and start it again, and
compare. The agents need no key: what they read, and report on, is the standard library of your Python. It takes
Gradio 5.50 or newer.
"""

import argparse
import ast
import html
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

options = argparse.ArgumentParser(description="A viewer of agents' traces, as a Gradio app.")
options.add_argument("--plain", action="store_true", help="Gradio as it comes, without Penstock")
# As a program only: whatever imports it (`penstock serve`, say) has a command line of its own.
plain = options.parse_args(None if __name__ == "__main__" else []).plain

if not plain:
    import penstock.gradio

    penstock.gradio.install()

SHOWN = 100
"""Steps that a page has, and that an agent keeps; the rest are counted only. More can't be read."""

BATCH_S = 0.1
"""Steps of so long are one update: ten a second look like a stream, and cost like ten."""

PLAIN = """### Agents' traces, in plain Gradio
Run all three. Then **reload this page**: the agents are killed at their next step, and the traces, your settings
and the counts are gone. Stop the server with Ctrl-C and start it again: the same. Now try it without `--plain`."""

HARDENED = """### Agents' traces, hardened by `penstock.gradio.install()`
Run all three. Then **reload this page**, pull the network, or close the tab and reopen it with Ctrl+Shift+T: the
agents go on, and the page has what it missed. Stop the server with Ctrl-C and start it again: the page comes back
by itself, and the agents run again, as they are marked `idempotent`: they only read. All runs are on
[the console](penstock/). `--plain` shows what happens without."""

STYLE = """<style>
.trace { max-height: 26rem; overflow-y: auto; font: 12px/1.5 ui-monospace, monospace; padding: 0; }
.trace div { display: flex; gap: .6em; padding: .15em .5em;
  border-bottom: 1px solid var(--border-color-primary); }
.trace div > b { flex: 0 0 4.2em; font-weight: 600; color: var(--kind) !important; }
.trace span { flex: 1; overflow-wrap: anywhere; }
.trace i { flex: none; font-style: normal; opacity: .55; }
.trace .plan { --kind: #8b5cf6; } .trace .open { --kind: #0ea5e9; } .trace .find { --kind: #f59e0b; }
.trace .note { --kind: #10b981; background: color-mix(in srgb, #10b981 8%, transparent); }
.sum { font: 600 13px/2 system-ui, sans-serif; padding: 0 .5em; opacity: .8; }
</style>"""


RUN_ALL = "() => { document.querySelectorAll('button.run-one').forEach((button) => button.click()); }"
"""Three events of one button would take turns: a page of Gradio 6 begins the next when the one before is over."""


# --- The agents ---

parsing = threading.Lock()
"""Two threads that parse at once may each get a SystemError about its recursion depth, in CPython 3.11."""


class Step(NamedTuple):
    kind: str
    text: str


Look = Callable[[str, ast.Module, str], Iterable[Step]]
"""What an agent does with a module: its name, its tree, its source."""


def without_docstrings(name: str, tree: ast.Module, _: str) -> Iterator[Step]:
    """Finds public functions that say nothing of themselves."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            yield Step("find", f"{name}.{node.name} has no docstring (line {node.lineno})")


def longest_functions(name: str, tree: ast.Module, _: str) -> Iterator[Step]:
    """Finds functions that are longer than a screen."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > 40:
                yield Step("find", f"{name}.{node.name} has {lines} lines")


def old_promises(name: str, _: ast.Module, source: str) -> Iterator[Step]:
    """Finds what somebody once wanted to do."""
    for number, line in enumerate(source.splitlines(), 1):
        if any(word in line for word in ("XXX", "FIXME")):
            yield Step("find", f"{name}:{number} {line.strip()[:80]}")


AGENTS: dict[str, tuple[str, Look]] = {
    "Ada": ("Which public functions have no docstring?", without_docstrings),
    "Grace": ("Which functions are longer than a screen?", longest_functions),
    "Edsger": ("Which promises were never kept?", old_promises),
}


def steps_of(name: str, modules: int, pause_s: float) -> Iterator[Step]:
    """One agent's way through the standard library."""
    question, look = AGENTS[name]
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:modules]
    yield Step("plan", f"{question} I read {len(paths)} modules.")
    total = 0
    for path in paths:
        source = path.read_text(encoding="utf-8", errors="replace")
        yield Step("open", f"{path.stem}: {len(source.splitlines()):,} lines")
        with parsing:
            tree = ast.parse(source)
        found = 0
        for step in look(path.stem, tree, source):
            found += 1
            yield step
            time.sleep(pause_s / 10)
        total += found
        if found:
            yield Step("note", f"{path.stem}: {found} found, {total} so far")
        time.sleep(pause_s)
    yield Step("note", f"Done: {total} found in {len(paths)} modules.")


# --- Their traces ---


@dataclass(frozen=True)
class Trace:
    """A trace that stays small: its last steps, and counts of all."""

    steps: tuple[tuple[float, Step], ...] = ()
    count: int = 0
    found: int = 0
    took_s: float = 0

    def grown(self, batch: list[tuple[float, Step]]) -> "Trace":
        found = sum(step.kind == "find" for _, step in batch)
        steps = (*self.steps, *batch)[-SHOWN:]
        return Trace(steps, self.count + len(batch), self.found + found, batch[-1][0])

    def as_html(self) -> str:
        """The newest first."""
        return f'<div class="trace">{"".join(map(_row, reversed(self.steps)))}</div>'

    def summary(self, state: str) -> str:
        shown = f", the last {SHOWN} shown" if self.count > SHOWN else ""
        counts = f"{self.count:,} steps{shown} · {self.found:,} finds · {self.took_s:.1f} s"
        return f'<div class="sum">{state} · {counts}</div>'


def _row(timed: tuple[float, Step]) -> str:
    at_s, (kind, text) = timed
    return f'<div class="{kind}"><b>{kind}</b><span>{html.escape(text)}</span><i>{at_s:.1f} s</i></div>'


def batched(steps: Iterator[Step]) -> Iterator[list[tuple[float, Step]]]:
    """Steps with their time, those of `BATCH_S` together, the first at once."""
    began, batch, due = time.monotonic(), list[tuple[float, Step]](), 0.0
    for step in steps:
        at_s = time.monotonic() - began
        batch.append((at_s, step))
        if at_s >= due:
            yield batch
            batch, due = [], at_s + BATCH_S
    if batch:
        yield batch


def run(name: str, modules: float, pause_s: float) -> Iterator[tuple[str, str, Trace]]:
    """An agent's run: its trace, its counts, and its state."""
    trace = Trace()
    for batch in batched(steps_of(name, int(modules), pause_s)):
        trace = trace.grown(batch)
        yield trace.as_html(), trace.summary("running"), trace
    yield trace.as_html(), trace.summary("done"), trace


def report(*traces: Trace) -> str:
    """What all of them found, from their states."""
    return "\n".join(
        f"- **{name}**: {trace.found:,} finds in {trace.count:,} steps"
        for name, trace in zip(AGENTS, traces, strict=True)
    )


# --- The page ---


def build(about: str) -> gr.Blocks:
    with gr.Blocks(title="Agents' traces") as demo:
        gr.HTML(STYLE)
        gr.Markdown(about)
        with gr.Row():
            modules = gr.Slider(5, 160, 60, step=5, label="Modules to read", elem_id="modules")
            pause_s = gr.Slider(0, 2, 0.4, step=0.1, label="Seconds a module", elem_id="pause")
        with gr.Row():
            gr.Button("Run all three", variant="primary", elem_id="run").click(None, js=RUN_ALL)
            stop = gr.Button("Stop", elem_id="stop")
        with gr.Row():
            columns = [column(name, [modules, pause_s]) for name in AGENTS]
        reported = gr.Markdown(elem_id="report")
        states, events = [state for state, _ in columns], [event for _, event in columns]
        for event in events:
            event.success(report, states, reported, show_progress="hidden")
        stop.click(None, None, None, cancels=events)
    return demo


def column(name: str, given: list[gr.Slider]) -> tuple[gr.State, Any]:
    """An agent's part of the page: its state, and the event of its run."""
    with gr.Column(min_width=260):
        gr.Markdown(f"**{name}** · {AGENTS[name][0]}")
        start = gr.Button("Run", size="sm", elem_classes="run-one")
        counts, trace, state = gr.HTML(), gr.HTML(), gr.State(Trace())
    outputs = [trace, counts, state]
    return state, start.click(agent(name), given, outputs, api_name=name.lower(), show_progress="hidden")


def agent(name: str) -> Callable[[float, float], Iterator[tuple[str, str, Trace]]]:
    """A function for each, as each is an event of its own, with its own place in line."""

    def runs(modules: float, pause_s: float) -> Iterator[tuple[str, str, Trace]]:
        yield from run(name, modules, pause_s)

    return runs if plain else penstock.gradio.idempotent(runs)


demo = build(PLAIN if plain else HARDENED)

if __name__ == "__main__":
    demo.launch()
