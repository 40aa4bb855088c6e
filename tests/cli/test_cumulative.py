"""Texts that grow, printed as they grow: from their start, and from the middle."""

import json
from typing import Any

import httpx
import pytest

import penstock
from penstock.testing import ServerProcess

from .commands import cli, lines


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        (["Hé", "Hé there", "Hé there, miller."], "Hé there, miller."),
        ([f"{'on and ' * n}▌" for n in range(20)] + ["on and " * 19], "on and " * 19),
        (["It runs 🎉", "It runs 🎉🎉"], "It runs 🎉🎉"),
        (["It was the wurst", "It was the worst of times"], "It was the wurst\nworst of times"),
        ([{"a": 1}, [2], None], '{"a": 1}\n[2]\nnull\n'),
    ],
    ids=["grows", "with a mark", "ends with a mark", "is rewritten", "no text"],
)
def test_a_cumulative_text_is_printed_as_it_grows(
    server: ServerProcess, values: list[Any], printed: str
) -> None:
    done = cli("tail", server.url, grown(server, values))
    assert (done.returncode, done.stdout) == (0, printed)


def grown(server: ServerProcess, values: list[Any]) -> str:
    """A run that has ended: whoever reads it now gets each value. Who keeps up may get two in one update."""
    run_id = cli("run", server.url, "grow", f"values={json.dumps(values)}", "--detach").stdout.strip()
    with penstock.Client(server.url, token="secret") as client:
        assert client.run(run_id).value() == values[-1]
    return run_id


def test_a_cumulative_text_from_the_middle(server: ServerProcess) -> None:
    values = [("word " * 40)[: 10 * n] for n in range(10, 21)]
    run_id = grown(server, values)
    first = lines(cli("tail", server.url, run_id, "--json"))
    assert [event["type"] for event in first] == ["replace"] * 11 + ["end"]
    bearer = {"Authorization": "Bearer secret"}
    answer = httpx.get(f"{server.url}/api/runs/{run_id}/events?poll=0", headers=bearer)
    epoch = answer.json()["cursor"].split("-")[0]
    assert cli("tail", server.url, run_id, "--after", f"{epoch}-9").stdout == "word word word word "
