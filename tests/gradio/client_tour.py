"""What an unmodified gradio_client gets of the features' app: `python client_tour.py URL`, as JSON by feature."""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gradio_client import Client, handle_file

TOUR: dict[str, Callable[[Client], Any]] = {}


def feature(call: Callable[[Client], Any]) -> Callable[[Client], Any]:
    TOUR[call.__name__] = call
    return call


@feature
def value(client: Client) -> Any:
    return client.predict(4, api_name="/double")


@feature
def generator(client: Client) -> Any:
    job = client.submit("weir", api_name="/spell")
    return {"pieces": list(job), "result": job.result(), "outputs": job.outputs()}


@feature
def state(client: Client) -> Any:
    counted = [client.predict(api_name="/count") for _ in range(3)]
    another = Client(client.src, verbose=False)
    return [*counted, another.predict(api_name="/count")]


@feature
def cancelled(client: Client) -> Any:
    job = client.submit("client", api_name="/long")
    first = next(iter(job))
    stopped = job.cancel()
    deadline = time.monotonic() + 10
    while not job.done() and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"first": first, "stopped": stopped, "done": job.done()}


@feature
def batch(client: Client) -> Any:
    words = ["a", "bb", "ccc", "dddd", "eeeee"]
    return [job.result() for job in [client.submit(word, api_name="/lengths") for word in words]]


@feature
def several_at_once(client: Client) -> Any:
    jobs = [client.submit(word, api_name="/spell") for word in ("mill", "race")]
    return [job.result() for job in jobs]


@feature
def progress(client: Client) -> Any:
    return _progress(client, "/steps")


@feature
def tqdm(client: Client) -> Any:
    return _progress(client, "/tracked")


def _progress(client: Client, name: str) -> Any:
    """For some seconds, as a busy machine may look once a second only."""
    job, seen = client.submit(30, api_name=name), set()
    while not job.done():
        for unit in job.status().progress_data or ():
            seen.add((unit.index, unit.length, unit.unit, unit.desc))
        time.sleep(0.02)
    return {"result": job.result(), "seen": bool(seen), "units": sorted({unit[1:] for unit in seen})}


@feature
def messages(client: Client) -> Any:
    return client.predict("Ada", api_name="/talk")


@feature
def errors(client: Client) -> Any:
    said = {}
    for kind in ("gradio", "other"):
        try:
            client.predict(kind, api_name="/fail")
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            said[kind] = [type(error).__name__, str(error).partition(".")[0]]
    return said


@feature
def unqueued(client: Client) -> Any:
    return client.predict(5, api_name="/direct")


@feature
def files(client: Client) -> Any:
    with TemporaryDirectory() as folder:
        path = Path(folder, "note.txt")
        path.write_text("sent")
        sent = client.predict(handle_file(str(path)), api_name="/upper")
    return {"sent": sent, "got": Path(client.predict("kept", api_name="/written")).read_text()}


@feature
def cache(client: Client) -> Any:
    return [client.predict(7, api_name="/costly") for _ in range(2)]


@feature
def validated(client: Client) -> Any:
    said = [client.predict(1, api_name="/checked")]
    try:
        said.append(client.predict(-1, api_name="/checked"))
    except Exception as error:  # noqa: BLE001 - it is what is looked at
        said.append(type(error).__name__)
    return said


@feature
def chat_interface(client: Client) -> Any:
    job = client.submit("Hello", api_name="/chat")
    return [job.result(), list(dict.fromkeys(job.outputs()))[-1]]


@feature
def interface(client: Client) -> Any:
    return client.predict("Ada", api_name="/hello")


def main(url: str, user: str = "", password: str = "") -> None:
    options = {"auth": (user, password)} if user else {}

    def play(name: str) -> Any:
        with TemporaryDirectory() as folder:
            client = Client(url, verbose=False, download_files=folder, **options)
            try:
                return TOUR[name](client)
            except Exception as error:  # noqa: BLE001 - the others go on
                return repr(error)
            finally:
                client.close()

    with ThreadPoolExecutor(6) as threads:
        print(json.dumps(dict(zip(TOUR, threads.map(play, TOUR), strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
