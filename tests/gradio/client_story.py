"""A program that uses a Gradio client, for the tests: it is told stories, and tells what happens in lines of JSON.

python client_story.py URL penstock|stock|USER:PASSWORD
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def tell(kind: str, **more: Any) -> None:
    print(json.dumps({"kind": kind, **more}), flush=True)


def follow(job: Any) -> None:
    """Tell a job's outputs as they come, and its end."""
    told = 0
    while not job.done() or told < len(job.outputs()):
        for output in job.outputs()[told:]:
            tell("output", value=output)
            told += 1
        time.sleep(0.01)
    end(job)


def end(job: Any) -> None:
    try:
        tell("result", value=job.result(timeout=60))
    except BaseException as error:  # noqa: BLE001 - CancelledError is one
        tell("error", type=type(error).__name__, message=str(error))


def event_id_of(job: Any) -> str:
    while not getattr(job.communicator, "event_id", None):
        time.sleep(0.01)
    event_id: str = job.communicator.event_id
    return event_id


def count(client: Any, steps: str) -> None:
    """One job, to its end."""
    job = client.submit(int(steps), "", api_name="/count")
    tell("submitted", event_id=event_id_of(job))
    follow(job)


def several(client: Any, steps: str) -> None:
    """A job, one that waits behind it, and one that may run again."""
    jobs = [client.submit(int(steps), "", api_name=name) for name in ("/count", "/again")]
    for job in jobs:
        event_id_of(job)
    jobs.insert(1, client.submit(int(steps), "", api_name="/count"))
    event_id_of(jobs[1])
    while not all(len(jobs[i].outputs()) > 2 for i in (0, 2)):
        time.sleep(0.01)
    tell("running", outputs=jobs[0].outputs())
    for job in jobs:
        end(job)


def fetch(client: Any, event_id: str) -> None:
    """A job of another process."""
    try:
        job = client.job(event_id)
    except Exception as error:  # noqa: BLE001
        tell("error", type=type(error).__name__, message=str(error))
        return
    follow(job)
    tell("status", code=job.status().code.name, success=job.status().success)


def size(client: Any, megabytes: int) -> None:
    """How much of a large output comes."""
    tell("size", value=len(client.predict(megabytes * 1_000_000, "", api_name="/large")["text"]))


def cancel(client: Any, _: str) -> None:
    """A job that is cancelled; another one after it."""
    job = client.submit(100_000, "", api_name="/count")
    while not job.outputs():
        time.sleep(0.01)
    job.cancel()
    tell("cancelled")
    end(job)
    tell("next", value=client.predict(3, "", api_name="/count"))


def one_by_one(client: Any, times: str) -> None:
    """Jobs one after the other, several at a time, and one that fails."""
    tell("results", value=[client.predict(n, "", api_name="/count") for n in range(1, int(times))])
    jobs = [client.submit("no number", "", api_name="/fail") for _ in range(2)]
    for job in jobs:
        end(job)
    tell("state", value=[client.predict(api_name="/visits") for _ in range(3)])


STORIES: dict[str, Callable[[Any, Any], None]] = {
    story.__name__: story for story in (count, several, fetch, size, cancel, one_by_one)
}


def main(url: str, kind: str) -> None:
    if kind == "stock":
        import gradio_client

        client: Any = gradio_client.Client(url, verbose=False)
    else:
        import penstock.gradio

        user, _, password = kind.partition(":")
        client = penstock.gradio.Client(url, verbose=False, auth=(user, password) if password else None)
    tell("ready")
    for line in sys.stdin:
        story, argument = json.loads(line)
        STORIES[story](client, argument)
        tell("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
