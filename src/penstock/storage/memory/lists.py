"""Lists of runs: filters, pages, and searches that look at so much and no more."""

from collections.abc import Iterator, Mapping

import msgspec

from ...errors import BadRequest
from ...models import LISTED_INPUT_BYTES, LISTED_INPUT_MOST_BYTES, RunFilter, RunPage, RunRecord
from ...protocol.search import SEARCHED_BYTES, SEARCHED_RUNS, Search

__all__ = ["read_runs"]


def read_runs(
    runs: dict[str, RunRecord],
    numbers: Mapping[str, int],
    sought: RunFilter,
    limit: int,
    before: str | None,
) -> RunPage:
    """Runs, newest first, with how their inputs begin; see `RunStore.runs`. `runs` are in order of submission."""
    if before is not None and before not in numbers:
        raise BadRequest(
            f"{before!r} continues no list.", hint="Send a page's `next` as it came.", field="before"
        )
    listed = _newest(runs, numbers, sought, before)
    if sought.text:
        found, went_to = _search(listed, sought.text, limit + 1)
    else:
        found, went_to = [run for run, _ in zip(listed, range(limit + 1), strict=False)], None
    page = [msgspec.structs.replace(run, input=_start(run.input), checkpoint=None) for run in found[:limit]]
    return RunPage(page, page[-1].id if len(found) > limit else went_to)


def _start(given: msgspec.Raw) -> msgspec.Raw:
    read = memoryview(given)
    return msgspec.Raw(bytes(read[:LISTED_INPUT_BYTES]) if read.nbytes <= LISTED_INPUT_MOST_BYTES else b"")


def _newest(
    runs: dict[str, RunRecord], numbers: Mapping[str, int], sought: RunFilter, before: str | None
) -> Iterator[RunRecord]:
    candidates: Iterator[RunRecord] = reversed(runs.values())
    if sought.ids is not None:
        asked = [runs[run_id] for run_id in dict.fromkeys(sought.ids) if run_id in runs]
        candidates = iter(sorted(asked, key=lambda run: -numbers[run.id]))
    for run in candidates:
        if sought.function not in (None, run.function) or (sought.states and run.state not in sought.states):
            continue
        if before is None or numbers[run.id] < numbers[before]:
            yield run


def _search(listed: Iterator[RunRecord], text: str, most: int) -> tuple[list[RunRecord], str | None]:
    """Runs that have it, and which was the last that was looked at; None where that was the end."""
    search, found = Search(text), list[RunRecord]()
    size_bytes = 0
    for looked_at, run in enumerate(listed, start=1):
        error = None if run.error is None else msgspec.json.encode(run.error).decode()
        given = bytes(run.input).decode()
        size_bytes += len(given) + len(error or "")
        if search.finds((run.id, run.function, run.session, run.key), (given, error)):
            found.append(run)
        if len(found) >= most:
            break
        if looked_at >= SEARCHED_RUNS or size_bytes >= SEARCHED_BYTES:
            return found, run.id
    return found, None
