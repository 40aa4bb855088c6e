"""Gradio's messages, recorded and said again, in every way that a log may be merged, joined late and cut."""

import json
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.events import AnyEvent, Json, Replace, decode_message, encode
from penstock.integrations.gradio.messages.diffs import applied
from penstock.integrations.gradio.messages.recorded import Speaker
from penstock.protocol.coalesce import Fold

from .gradio_page import Page, said_by_gradio
from .recorded import Message, readings, record
from .server import find_python

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "gradio.json").read_text(encoding="utf-8"))


CHANCE = st.randoms(use_true_random=False)

PATIENT = settings(deadline=None)
"""A machine that does other things besides takes longer, which is no failure."""


@PATIENT
@given(CHANCE)
def test_what_was_not_merged_is_said_as_gradio_said_it(chance: random.Random) -> None:
    messages = said_by_gradio(chance)
    speaker, page, original = Speaker("e1"), Page(), Page()
    said = [message for event in record(messages).events for message in speaker.say(event)]
    stock = [message for message in messages if message["msg"] != "estimation"]
    if said[0]["msg"] != "process_starts":  # of an event that was cancelled before it said anything
        stock = [message for message in stock if message["msg"] != "process_starts"]
    assert [message["msg"] for message in said] == [message["msg"] for message in stock]
    for ours, theirs in zip(said, stock, strict=True):
        page.hear(ours)
        original.hear(theirs)
        assert page.data == original.data
        assert _plain(ours) == _plain(theirs)


def _plain(message: Message) -> Message:
    """The message without its data, which were compared as what they lead to."""
    output = {name: value for name, value in message.get("output", {}).items() if name != "data"}
    return {**message, "output": output, "eta": None}


@PATIENT
@given(CHANCE)
def test_however_it_is_merged_and_cut_a_page_comes_to_the_same(chance: random.Random) -> None:
    messages = said_by_gradio(chance)
    log = record(messages, large_bytes=_large(chance)).events
    page, original = Page(), Page()
    for message in messages:
        original.hear(message) if message["msg"] != "estimation" else None
    told_until: dict[Any, int] = {}
    data_at = _data_after(log)
    cuts = chance.randint(0, 4)
    for row in readings(log, chance, cuts):
        for told in row:
            for message in told.said:
                page.hear(message)
                if message["msg"] in ("process_generating", "process_streaming") and message is told.said[-1]:
                    assert page.data == data_at[told.event.seq]
                for state in message.get("output", {}).get("changed_state_ids") or ():
                    told_until[state] = told.event.seq
    assert page.shown == original.shown
    assert page.result == original.result
    assert page.logs == original.logs
    assert page.others == original.others
    assert page.progress == original.progress
    assert page.rendered == original.rendered
    assert next(_plain(message) for message in page.completed)["success"] == original.completed[0]["success"]
    assert len(page.completed) == 1
    assert told_until.keys() == original.told.keys()
    assert {state: seq >= _last_change(log, state) for state, seq in told_until.items()} == dict.fromkeys(
        told_until, True
    )
    if not cuts:
        assert all(len(page.told[state]) <= len(original.told[state]) for state in page.told)


def _data_after(log: Sequence[AnyEvent]) -> dict[int, Any]:
    """What a page has after each event."""
    fold, data = Fold(), {0: None}
    for event in log:
        fold.apply(event)
        value = _value(fold)
        data[event.seq] = data[event.seq - 1] if value is None else value["output"].get("data")
    return data


def _value(fold: Fold) -> Any:
    """The last value, also where it is in parts."""
    parts = [event.value for event in fold.events if isinstance(event, Json) and _is_part(event)]
    last = next((e for e in reversed(fold.events) if isinstance(e, Replace) or _is_part(e)), None)
    if not parts or isinstance(last, Replace):
        return fold.value
    count = parts[-1]["parts"]
    if parts[-1]["part"] + 1 < count:
        return None
    return json.loads("".join(part["text"] for part in parts[-count:]))


def _is_part(event: AnyEvent) -> bool:
    return isinstance(event, Json) and "penstock" in event.value


def _large(chance: random.Random) -> int:
    """Some values, or all, are too large for one event."""
    return chance.choice([1 << 20, 1 << 20, 700, 300])


def _last_change(log: Sequence[AnyEvent], state: Any) -> int:
    """The event with which a state was last said to have changed."""
    last = count = 0
    fold = Fold()
    for event in log:
        fold.apply(event)
        value = _value(fold) or {}
        now = value.get("penstock", {}).get("states", {}).get(str(state), 0)
        last, count = (event.seq, now) if now > count else (last, count)
    return last


@PATIENT
@given(CHANCE)
def test_a_run_that_begins_again_is_said_again(chance: random.Random) -> None:
    first, second = said_by_gradio(chance), said_by_gradio(chance)
    while _outputs(first) != _outputs(second):
        second = said_by_gradio(chance)
    log = record(first[: chance.randint(1, len(first) - 1)])
    log.restart()
    record(second, log=log)
    page, original = Page(), Page()
    for message in second:
        original.hear(message) if message["msg"] != "estimation" else None
    for row in readings(log.events, chance, chance.randint(0, 3)):
        for told in row:
            for message in told.said:
                page.hear(message)
    assert len(page.completed) == 1
    assert page.result == original.result
    assert set(original.told) <= page.told.keys()
    if original.data is not None:
        assert page.data == original.data


def _outputs(messages: Sequence[Message]) -> set[int]:
    return {len(output["data"]) for m in messages if "data" in (output := m.get("output", {}))}


def test_diffs_of_each_version_are_applied_as_its_client_does(version: str) -> None:
    done = subprocess.run(
        [find_python(version), "-c", PAIRS], capture_output=True, text=True, timeout=60, check=True
    )
    cases = json.loads(done.stdout)
    assert len(cases) > 1000
    for old, edits, made in cases:
        assert applied(old, edits) == made


PAIRS = """
import ast, importlib.util, json, pathlib, random
from gradio_client.utils import apply_diff
# Its own source, without the seconds that it takes to import.
(folder,) = importlib.util.find_spec("gradio").submodule_search_locations
utils = ast.parse((pathlib.Path(folder) / "utils.py").read_text(encoding="utf-8"))
utils.body = [node for node in utils.body if getattr(node, "name", "") == "diff"]
exec(compile(utils, "utils.py", "exec"))
chance = random.Random(6)
def value(depth):
    kind = 3 if depth == 3 else chance.randrange(5 if depth else 3)
    if kind == 3: return [value(depth - 1) for _ in range(chance.randrange(4))]
    if kind == 4: return {name: value(depth - 1) for name in chance.sample("abcd", chance.randrange(4))}
    return [None, chance.randrange(3), "text"[: chance.randrange(5)]][kind]
cases = []
while len(cases) < 2000:
    old, new = value(3), value(3)
    edits = diff(old, new)
    try: cases.append([old, edits, apply_diff(old, edits)])
    except Exception: pass
print(json.dumps(cases))
"""


# The page's side


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vector(case: Message) -> None:
    if "messages" in case:
        assert [json.loads(encode(event)) for event in record(case["messages"]).events] == case["kept"]
    speaker = Speaker("e1", heard=case["heard"], has_base=case["has_base"])
    said = [speaker.say(decode_message(json.dumps(event))) for event in case["events"]]
    assert said == case["said"]


def test_the_page_says_the_same(needs: Callable[[str], str], tmp_path: Path) -> None:
    rows = []
    for seed in range(300):
        chance = random.Random(seed)
        log = record(said_by_gradio(chance), large_bytes=_large(chance)).events
        for row in readings(log, chance, 2):
            told = [[json.loads(encode(told.event)), told.said] for told in row]
            rows += [[*row[0].reader, told]] if row else []
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    module = (ROOT / "src" / "penstock" / "web" / "gradio" / "messages.js").as_uri()
    done = subprocess.run(
        [needs("node"), "--input-type=module", "-e", COMPARE, module, str(tmp_path / "rows.json")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


COMPARE = """
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
const [module, rows] = process.argv.slice(1);
const { Speaker } = await import(module);
for (const [heard, hasBase, told] of JSON.parse(readFileSync(rows, 'utf8'))) {
  const speaker = new Speaker('e1', { heard, hasBase });
  for (const [event, said] of told) assert.deepEqual(JSON.parse(JSON.stringify(speaker.say(event))), said);
}
"""
