"""The form: who may ask, both formats, names and labels by the conventions, and the documentation of them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.openmetrics import parser as openmetrics

from penstock.server.families import METRICS
from penstock.testing import live_server

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import MakeApp

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


@asynccontextmanager
async def guarded(make_app: "MakeApp", connect: "type[Api]") -> "AsyncIterator[Api]":
    async with live_server(make_app(token="secret")) as url, connect(url) as api:
        yield api


async def test_a_scrape_needs_the_token(make_app: "MakeApp", connect: "type[Api]") -> None:
    async with guarded(make_app, connect) as api:
        assert (await api.get("/metrics")).status_code == 401
        assert (await api.get("/metrics", headers={"Authorization": "Bearer secret"})).status_code == 200


async def test_both_formats_are_spoken(api: "Api") -> None:
    await api.ended(await api.submit("count"))
    plain = await api.get("/metrics", headers={"Accept": "*/*"})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["cache-control"] == "no-store"
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    open_ = await api.get("/metrics", headers=asked)
    assert open_.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = openmetrics.text_string_to_metric_families(open_.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in found}
    assert families["penstock_runs_ended"].type == "counter"
    assert (await api.post("/metrics")).status_code == 405


async def test_nothing_that_there_may_be_many_of_is_a_label(api: "Api") -> None:
    run_id = await api.submit("count")
    await api.ended(run_id)
    await api.post("/api/runs", json={"function": "count", "session": "ada", "key": "k-1"})
    scrape = await api.scrape()
    found = {label for family in scrape.families.values() for s in family.samples for label in s.labels}
    assert found == {"transport", "operation", "group", "function", "state", "le", "version"}
    assert not re.search(f"{run_id}|ada|k-1|no_such", scrape.text)
    await api.post("/api/runs", json={"function": "no_such"})
    assert "no_such" not in (await api.scrape()).text


UNITS = {"seconds", "bytes"}
NOT_BASE = {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "kilobytes", "megabytes", "percent"}


async def test_names_keep_to_the_conventions(api: "Api") -> None:
    """Those of promtool's linter and https://prometheus.io/docs/practices/naming/."""
    await api.ended(await api.submit("count"))
    scrape = await api.scrape()
    assert len(scrape.families) == len(METRICS) == len({metric.name for metric in METRICS})
    for metric in METRICS:
        words = metric.name.split("_")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        assert metric.help.endswith(".")
        assert (metric.kind == "counter") == (words[-1] == "total"), metric.name
        assert not NOT_BASE & set(words)
        assert words[-1] not in {"count", "sum", "bucket"}
        unit = words[-2] if metric.kind == "counter" else words[-1]
        assert not UNITS & set(words) or unit in UNITS, f"{metric.name}: the unit comes last"
        assert metric.kind != "histogram" or unit == "seconds"
        assert not set(metric.labels) & set(words), "no label's name in the metric's"
        family = scrape.families[f"penstock_{metric.name.removesuffix('_total')}"]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert {label for s in family.samples for label in s.labels} <= {*metric.labels, "le"}


def test_the_documentation_has_this_table() -> None:
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{one}`' for one in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    found = re.findall(r"^\| `\w+` \| (?:counter|gauge|histogram) \|.*$", PAGE, re.MULTILINE)
    assert found == rows


def test_the_example_alerts_ask_for_metrics_that_exist() -> None:
    (rules,) = re.findall(r"```yaml\ngroups:\n.*?```", PAGE, re.DOTALL)
    names = {f"penstock_{metric.name}": metric for metric in METRICS}
    used = {name.removesuffix("_bucket") for name in re.findall(r"penstock_\w+", rules)}
    assert len(re.findall("- alert:", rules)) == 3
    assert used <= names.keys()
