"""`penstock run`: what it prints where, how its values are taken, and its exit codes."""

import pytest

from penstock.testing import ServerProcess

from .commands import cli, lines


def test_text_goes_out_as_it_is_and_the_rest_beside_it(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=héllo ", "times=3")
    assert (done.returncode, done.stdout) == (0, "héllo héllo héllo ")
    assert "▸ speaking (tool)" in done.stderr
    assert "info: about to speak" in done.stderr
    assert "1 of 2 words" in done.stderr
    assert "\033[" not in done.stdout + done.stderr, "no colours where nobody looks"


def test_json_is_one_event_a_line(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=hi", "--json")
    events = lines(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["type"] for event in events] == ["log", "progress", "span-start", "text", "span-end", "end"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1]["state"] == "succeeded"


@pytest.mark.parametrize(
    ("given", "value"),
    [("3", 3), ("1.5", 1.5), ("null", None), ('{"a": [1]}', {"a": [1]}), ("two words", "two words"),
     ('"3"', "3"), ("a=b", "a=b"), ("", "")],
)  # fmt: skip
def test_values_are_json_where_they_can_be(server: ServerProcess, given: str, value: object) -> None:
    done = cli("run", server.url, "show", f"value={given}")
    assert done.returncode == 0
    assert lines(done) == [{"got": value}, [value]]


@pytest.mark.parametrize("text", ["3", "true", "{}", "null", "a=b"])
def test_a_text_parameter_takes_what_is_given(server: ServerProcess, text: str) -> None:
    assert cli("run", server.url, "say", f"text={text}").stdout == text


@pytest.mark.parametrize("text", ["3", "true", "{}", "null", '"x"', "", "two words"])
def test_a_parameter_that_may_be_text_takes_what_is_given(server: ServerProcess, text: str) -> None:
    assert lines(cli("run", server.url, "perhaps", f"text={text}")) == [[text]]


def test_a_run_that_fails_is_1(server: ServerProcess) -> None:
    done = cli("run", server.url, "fail")
    assert (done.returncode, done.stdout) == (1, "before ")
    assert "penstock: The run ended as failed: ValueError: too much" in done.stderr
    done = cli("run", server.url, "fail", "--json")
    assert (done.returncode, lines(done)[-1]["error"]["code"]) == (1, "exception")


def test_detach_prints_the_id(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=x", "--detach")
    assert done.returncode == 0
    assert done.stdout.startswith("run_")
    assert cli("tail", server.url, done.stdout.strip()).stdout == "x"
    (answer,) = lines(cli("run", server.url, "say", "text=x", "--detach", "--json"))
    assert answer["run_id"].startswith("run_")


def test_a_key_is_one_run(server: ServerProcess) -> None:
    done = [cli("run", server.url, "say", "text=x", "--key", "once", "--detach") for _ in range(2)]
    assert [one.stderr for one in done] == ["", ""]
    assert done[0].stdout == done[1].stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("nothing",), "The server has no function 'nothing'."),
        (("say", "text"), "'text' is not name=value."),
        (("say", "text=x", "times=many"), "times: "),
        (("say",), "text: It is required."),
        (("say", "text=x", "more=1"), "more: There is no such parameter."),
    ],
)
def test_a_wrong_call_is_2(server: ServerProcess, argv: tuple[str, ...], message: str) -> None:
    done = cli("run", server.url, *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"penstock: {message}" in done.stderr
    assert "Traceback" not in done.stderr
