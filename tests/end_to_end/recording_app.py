"""A process that records what something else executes, until it is killed. `python recording_app.py STORE`"""

import asyncio
import contextlib
import sys

import penstock

WORDS = 40


async def main(store: str) -> None:
    app = penstock.App(store=store)
    app.recorded("once", concurrency_limit=None)
    app.recorded("again", concurrency_limit=None, on_crash="retry")
    services = await app.start()
    recordings = []
    for function in ("once", "again"):
        for state in ("runs", "waits"):
            await services.queue.take_in(function, {"data": []}, run_id=f"{function}-{state}", session="s")
        recordings.append(await services.worker.record(f"{function}-runs", print))
    for number in range(WORDS):
        for recording in recordings:
            assert recording is not None
            recording.emit(penstock.Replace({"text": "word " * number}))
        await asyncio.sleep(0.01)
    for function in ("once", "again"):  # what is not stored yet may be lost: nobody was told of it
        async with contextlib.aclosing(services.follow(f"{function}-runs")) as told:
            async for news in told:
                if news.cursor.seq == WORDS:
                    break
    while True:
        print("ready", flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
