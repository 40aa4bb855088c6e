"""Who reads which run, in memory, and since when nobody does."""

from collections.abc import Mapping

from ...models import RunRecord

__all__ = ["Audience"]


class Audience:
    """Of runs that have an `abandon_grace_ms`. `runs` are the store's."""

    def __init__(self, runs: Mapping[str, RunRecord]) -> None:
        self._runs = runs
        self._watchers: dict[str, set[str]] = {}
        self._absent: dict[str, int] = {}  # run to when it counts as abandoned; 0: still to be set

    def expect(self, run: RunRecord) -> None:
        """A new run, which nobody reads yet."""
        if run.abandon_grace_ms is not None:
            self._absent[run.id] = run.created_at_ms + run.abandon_grace_ms

    def watch(self, worker: str, present: Mapping[str, bool], now_ms: int) -> None:
        """See `RunStore.watch`."""
        for run_id, watched in present.items():
            run = self._runs.get(run_id)
            if not watched:
                self._leave(worker, run_id)
            elif run is not None and run.abandon_grace_ms is not None and not run.state.ended:
                self._watchers.setdefault(run_id, set()).add(worker)
                self._absent.pop(run_id, None)
        self._begin_absence(now_ms)

    def _leave(self, worker: str, run_id: str) -> None:
        watchers = self._watchers.get(run_id, set())
        if worker in watchers:
            watchers.discard(worker)
            if not watchers:
                del self._watchers[run_id]
                self._absent[run_id] = 0

    def _begin_absence(self, now_ms: int) -> None:
        for run_id, at_ms in self._absent.items():
            if at_ms == 0:
                self._absent[run_id] = now_ms + (self._runs[run_id].abandon_grace_ms or 0)

    def abandoned(self, now_ms: int, up_ms: int) -> list[str]:
        """See `RunStore.abandoned`."""
        self._begin_absence(now_ms)
        for run_id in [run_id for run_id in self._absent if self._runs[run_id].state.ended]:
            del self._absent[run_id]
        runs = [self._runs[run_id] for run_id, at_ms in self._absent.items() if at_ms <= now_ms]
        return [run.id for run in runs if not run.cancel and (run.abandon_grace_ms or 0) <= up_ms]

    def forget(self, worker: str) -> None:
        """A worker is gone, and its readers with it."""
        for run_id in list(self._watchers):
            self._leave(worker, run_id)

    @property
    def workers(self) -> set[str]:
        """Those that have readers."""
        return {worker for watchers in self._watchers.values() for worker in watchers}
