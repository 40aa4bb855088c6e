"""Each metric once: its name, what it says, and where its value is. In the form that Prometheus reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..meters import Gauges, Meters, Moments, Spells

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["METRICS", "GroupFacts", "Metric", "StoreFacts", "View", "render"]

Value = float | Moments | Spells
Labelled = Iterable[tuple[tuple[str, ...], Value]]


class GroupFacts(NamedTuple):
    """One group, as the store has it, over all processes. limit: None where there is none."""

    waiting: int
    running: int
    held: int
    limit: int | None


class StoreFacts(NamedTuple):
    """What the store knows."""

    groups: dict[str, GroupFacts]
    workers: int


class MemoryFacts(NamedTuple):
    """What the memory guard knows, of all that its limit is for."""

    used_bytes: int
    limit_bytes: int
    tight: bool


class View(NamedTuple):
    """What a scrape tells. store: None where it can't be read. memory: None where the guard is off."""

    counted: Meters
    now: Gauges
    processes: int
    store: StoreFacts | None
    version: str
    memory: MemoryFacts | None = None


class Metric(NamedTuple):
    """One metric, without the prefix `penstock_`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    values: Callable[[View], Labelled]
    labels: tuple[str, ...] = ()


def _one(value: Value | None) -> Labelled:
    return [] if value is None else [((), value)]


def _each(values: Mapping[str, Value]) -> Labelled:
    return [((name,), value) for name, value in values.items()]


def _groups(value: Callable[[GroupFacts], float | None]) -> Callable[[View], Labelled]:
    def values(view: View) -> Labelled:
        for name, group in view.store.groups.items() if view.store else ():
            found = value(group)
            if found is not None:
                yield (name,), found

    return values


def _ends(view: View) -> Labelled:
    for function, states in view.counted.runs.ends.items():
        yield from (((function, state), count) for state, count in states.items())


METRICS = (
    Metric(
        "readers",
        "gauge",
        "Readers connected; a connection counts once for each stream that it reads.",
        lambda view: _each(view.now.readers),
        ("transport",),
    ),
    Metric(
        "reader_lag_events",
        "gauge",
        "Events that are stored and not yet handed to their connections, summed over all readers.",
        lambda view: _one(view.now.behind),
    ),
    Metric(
        "reader_lag_max_events",
        "gauge",
        "The same of the reader that is furthest behind.",
        lambda view: _one(view.now.behind_most),
    ),
    Metric(
        "reads_total",
        "counter",
        "Times that somebody came to read, for the first time or again.",
        lambda view: _one(view.counted.flow.reads),
    ),
    Metric(
        "updates_total",
        "counter",
        "Times that events were handed to one reader's connection.",
        lambda view: _one(view.counted.flow.updates),
    ),
    Metric(
        "events_delivered_total",
        "counter",
        "Events that were handed to readers, merged ones counted singly, those in a fold not at all.",
        lambda view: _one(view.counted.flow.events),
    ),
    Metric(
        "events_merged_total",
        "counter",
        "Those of them that had no frame of their own, as they were merged into another's.",
        lambda view: _one(view.counted.flow.events - view.counted.flow.frames),
    ),
    Metric(
        "sent_bytes_total",
        "counter",
        "Bytes handed to readers' connections, before compression, heartbeats too, HTTP's own not.",
        lambda view: _one(view.counted.flow.sent_bytes),
    ),
    Metric(
        "readers_stalled_total",
        "counter",
        "Readers cut off because they took nothing for stall_timeout_s.",
        lambda view: _one(view.counted.flow.stalled),
    ),
    Metric(
        "readers_rotated_total",
        "counter",
        "Responses ended because they were max_age_s old.",
        lambda view: _one(view.counted.flow.rotated),
    ),
    Metric(
        "appends_total",
        "counter",
        "Chunks stored in streams.",
        lambda view: _one(view.counted.appends.chunks),
    ),
    Metric(
        "events_appended_total",
        "counter",
        "Events in them.",
        lambda view: _one(view.counted.appends.events),
    ),
    Metric(
        "appended_bytes_total",
        "counter",
        "Bytes of them.",
        lambda view: _one(view.counted.appends.size_bytes),
    ),
    Metric(
        "append_duration_seconds",
        "histogram",
        "From a chunk's first yield until it was stored, with the pacing's wait (1/rate).",
        lambda view: _one(view.counted.appends.stored),
    ),
    Metric(
        "commit_duration_seconds",
        "histogram",
        "One transaction of the SQLite writer, with the wait for the file's lock.",
        lambda view: _one(view.counted.store.commits),
    ),
    Metric(
        "store_errors_total",
        "counter",
        "Reads and commits that the store refused.",
        lambda view: _each(view.counted.store.errors),
        ("operation",),
    ),
    Metric(
        "store_up",
        "gauge",
        "1 if the store could be read for this scrape; if not, the queue's figures and the workers are missing.",
        lambda view: _one(view.store is not None),
    ),
    Metric(
        "queue_waiting",
        "gauge",
        "Runs that wait.",
        _groups(lambda group: group.waiting),
        ("group",),
    ),
    Metric(
        "queue_running",
        "gauge",
        "Runs under way.",
        _groups(lambda group: group.running),
        ("group",),
    ),
    Metric(
        "queue_held",
        "gauge",
        "Places taken by calls that go on though their runs have ended.",
        _groups(lambda group: group.held),
        ("group",),
    ),
    Metric(
        "queue_limit",
        "gauge",
        "Calls that may run at once; groups without a limit have none.",
        _groups(lambda group: group.limit),
        ("group",),
    ),
    Metric(
        "queue_wait_seconds",
        "histogram",
        "From a run's submission to its first start.",
        lambda view: _each(view.counted.runs.waits),
        ("group",),
    ),
    Metric(
        "runs_submitted_total",
        "counter",
        "Runs taken in.",
        lambda view: _each(view.counted.runs.submitted),
        ("function",),
    ),
    Metric(
        "runs_rejected_total",
        "counter",
        "Submissions answered 503, by the error's code.",
        lambda view: _each(view.counted.runs.rejected),
        ("reason",),
    ),
    Metric(
        "runs_ended_total",
        "counter",
        "Runs ended.",
        _ends,
        ("function", "state"),
    ),
    Metric(
        "run_duration_seconds",
        "histogram",
        "From a run's last start to its end.",
        lambda view: _each(view.counted.runs.took),
        ("function",),
    ),
    Metric(
        "attempts_lost_total",
        "counter",
        "Attempts whose process died.",
        lambda view: _each(view.counted.runs.lost),
        ("function",),
    ),
    Metric(
        "workers",
        "gauge",
        "Processes that execute runs of this store, on all machines.",
        lambda view: _one(view.store.workers if view.store else None),
    ),
    Metric(
        "processes",
        "gauge",
        "Processes whose figures these are: those of one penstock serve.",
        lambda view: _one(view.processes),
    ),
    Metric(
        "resident_memory_bytes",
        "gauge",
        "Memory of these processes; pages that they share count for each.",
        lambda view: _one(view.now.resident_bytes or None),
    ),
    Metric(
        "memory_limit_bytes",
        "gauge",
        "Memory above which functions wait and new runs are refused; missing where memory_limit_mb is 0.",
        lambda view: _one(view.memory.limit_bytes if view.memory else None),
    ),
    Metric(
        "memory_used_bytes",
        "gauge",
        "What is in use of it, as the guard counts: of the service, the container or the machine.",
        lambda view: _one(view.memory.used_bytes if view.memory else None),
    ),
    Metric(
        "memory_tight",
        "gauge",
        "1 while it is above the limit, and until it is eased.",
        lambda view: _one(view.memory.tight if view.memory else None),
    ),
    Metric(
        "cpu_seconds_total",
        "counter",
        "Processor time of these processes.",
        lambda view: _one(view.counted.cpu_s),
    ),
    Metric(
        "build_info",
        "gauge",
        "1, with the version of Penstock.",
        lambda view: [((view.version,), 1)],
        ("version",),
    ),
)
"""All of them. docs/operations.md has the same table, which a test compares."""


def render(view: View, accept: str) -> tuple[bytes, str]:
    """A scrape's answer and its content type, as the `Accept` header asks for it."""
    # Here, as it takes as long to load as the rest of a request's way, and most processes are never scraped.
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_Collector(view))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> "Iterator[Family]":
        return (_family(metric, self._view) for metric in METRICS)

    def describe(self) -> "Iterable[Family]":
        return ()


def _family(metric: Metric, view: View) -> "Family":
    from prometheus_client import metrics_core as core

    name, labels = f"penstock_{metric.name}", metric.labels
    if metric.kind == "histogram":
        histogram = core.HistogramMetricFamily(name, metric.help, labels=labels)
        for values, timings in metric.values(view):
            assert isinstance(timings, Moments | Spells)
            histogram.add_metric(values, _buckets(timings), timings.total_s)
        return histogram
    make = core.CounterMetricFamily if metric.kind == "counter" else core.GaugeMetricFamily
    family = make(name, metric.help, labels=labels)
    for values, value in metric.values(view):
        assert isinstance(value, int | float)
        family.add_metric(values, value)
    return family


def _buckets(timings: Moments | Spells) -> list[tuple[str, float]]:
    edges = [*map(str, timings.BOUNDS_S), "+Inf"]
    return list(zip(edges, accumulate(timings.counts), strict=True))
