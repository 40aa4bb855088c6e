"""Single rules of how Gradio's messages are recorded and said again."""

from typing import Any

import pytest

from penstock.errors import ProtocolError
from penstock.events import Json, Progress, Replace
from penstock.integrations.gradio.messages.recorded import KeptRaw, Recorded, Speaker
from penstock.protocol.coalesce import Fold

from .recorded import Logbook, Message, folded, record


def generating(*data: Any, **output: Any) -> Message:
    more = {"is_generating": True, "changed_state_ids": [], "render_config": None} | output
    return {
        "msg": "process_generating",
        "output": {"data": list(data), **more},
        "success": True,
        "time_limit": None,
    }


def completed(*data: Any) -> Message:
    return {**generating(*data, is_generating=False), "msg": "process_completed"}


def test_what_one_update_did_is_not_lost_where_the_next_one_skips_it() -> None:
    skip = {"__type__": "update"}
    log = record([generating("Hello"), generating([["replace", [], skip]]), completed(skip)])
    said = Speaker("e1").say(folded(log.events))
    assert [message["msg"] for message in said] == [
        "process_starts", "process_generating", "process_generating", "process_completed",
    ]  # fmt: skip
    assert said[1]["output"]["data"] == [{"__type__": "update", "value": "Hello"}]
    assert said[2]["output"]["data"] == [[["replace", [], skip]]]
    assert said[3]["output"]["data"] == [skip], "a client's result is what Gradio said"


def test_what_came_before_an_error_is_not_lost() -> None:
    failed = {"msg": "process_completed", "output": {"error": "No."}, "success": False, "title": None}
    said = Speaker("e1").say(
        folded(record([generating("Hel"), generating([["append", [], "lo"]]), failed]).events)
    )
    assert [message["output"] for message in said[1:]] == [
        {**generating("Hello")["output"]}, {"error": "No."},
    ]  # fmt: skip


def test_a_diff_that_fits_nowhere_leaves_the_last_good_data_until_the_end() -> None:
    log = record(
        [
            generating(["a"]),
            generating([["delete", [7], None]]),
            generating([["add", [1], "b"]]),
            completed(["c"]),
        ]
    )
    assert _data(log) == [[["a"]], [["a"]], [["a"]], [["c"]]]


def test_a_second_end_and_what_follows_it_are_ignored() -> None:
    recorded = Recorded()
    assert len(recorded.take(completed("one"))) == 1
    assert recorded.outcome is not None
    assert recorded.outcome.state == "succeeded"
    assert recorded.take({"msg": "process_completed", "output": {}, "success": True}) == []


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (completed(), "succeeded"),
        ({"msg": "process_completed", "output": {}, "success": True}, "cancelled"),
        ({"msg": "process_completed", "output": {"error": None}, "success": False}, "failed"),
        ({"msg": "process_completed", "output": None, "success": False}, "failed"),
    ],
)
def test_the_run_ends_as_the_event_did(message: Message, state: str) -> None:
    recorded = Recorded()
    recorded.take(message)
    assert recorded.outcome is not None
    assert recorded.outcome.state == state


def test_an_event_begun_through_call_says_whole_values() -> None:
    log = record([generating("a"), generating("ab"), completed("ab")], simple=True)
    assert _data(log) == [["a"], ["ab"], ["ab"]]


def _data(log: Logbook) -> list[Any]:
    fold, data = Fold(), []
    for event in log.events:
        fold.apply(event)
        data += [fold.value["output"]["data"]] if isinstance(event, Replace) else []
    return data


@pytest.mark.parametrize("name", ["done", "total", "unit"])
def test_a_progress_with_fields_of_our_names_is_kept_as_it_is(name: str) -> None:
    message = {"msg": "progress", "progress_data": [], name: 1}
    assert Recorded().take({**message, "event_id": "e1"}) == [KeptRaw(message)]


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ({"index": 2, "length": 5, "unit": "it", "progress": None}, (2, 5, "it")),
        ({"index": None, "length": None, "unit": "steps", "progress": 0.5}, (0.5, 1, "")),
        ({"index": 3, "length": None, "unit": None, "progress": None}, (3, None, "")),
        ({}, (0, 1, "")),
    ],
)
def test_progress_is_shown_by_its_first_unit(unit: Message, shown: tuple[Any, ...]) -> None:
    (event,) = record([{"msg": "progress", "progress_data": [unit, {"index": 9}]}]).events
    assert isinstance(event, Progress)
    assert (event.done, event.total, event.unit) == shown


def test_its_place_in_line_is_said_until_it_starts() -> None:
    speaker = Speaker("e1")
    assert speaker.waits(3, 12.5) == [
        {"msg": "estimation", "event_id": "e1", "rank": 2, "queue_size": 3, "rank_eta": 12.5}
    ]
    assert speaker.waits(1, None, 7)[0]["queue_size"] == 7
    assert speaker.starts(1.5) == [{"msg": "process_starts", "event_id": "e1", "eta": 1.5}]
    assert speaker.starts() == []
    assert speaker.waits(1, None) == []


def test_a_delta_without_its_value_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Speaker("e1").say(Replace(delta=[["set", [], 1]], seq=1))


def test_events_of_others_are_passed_over() -> None:
    speaker = Speaker("e1")
    assert speaker.say(Json({"a": 1}, seq=1)) == []
    assert speaker.say(Replace("text", seq=2)) == []
