"""What the servers of these tests execute."""

SOURCE = """
import asyncio, os, pathlib, threading, time

GO = pathlib.Path("go")

@app.function
def pid() -> int:
    return os.getpid()

@app.function(concurrency_limit=None)
async def wait():
    pathlib.Path("waits").write_text(str(os.getpid()))
    yield "before "
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield "after"

@app.function(on_crash="retry", concurrency_limit=None)
async def again(run: penstock.Run):
    yield f"attempt {run.attempt} "
    while not GO.exists():
        await asyncio.sleep(0.01)
    for number in range(50):
        yield f"{number} "

@app.function(concurrency_limit=None)
def deaf():
    print("deaf is on", flush=True)
    threading.Event().wait()

@app.function(concurrency_limit=None)
async def deaf_in_a_pool():
    print("deaf is on", flush=True)
    await asyncio.to_thread(threading.Event().wait)

@app.function(concurrency_limit=None)
async def block():
    print("block is on", flush=True)
    time.sleep(20)

@app.function(concurrency_limit=None)
async def leave():
    async def child():
        raise SystemExit(5)
    await asyncio.gather(child(), asyncio.sleep(60))

@app.function(concurrency_limit=None)
async def stubborn():
    print("stubborn is on", flush=True)
    while not GO.exists():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            print("stubborn stays", flush=True)

@app.function
def add(a: int) -> int:
    return a + 1

@app.function(concurrency_limit=1)
async def line(name: str):
    with open("begun", "a") as begun:
        begun.write(f"{name} ")
    while not GO.exists():
        await asyncio.sleep(0.01)

@app.function(concurrency_limit=None)
async def flood():
    for _ in range(2000):
        yield "x" * 10_000

@app.function(on_crash="retry", concurrency_limit=None)
async def log(run: penstock.Run, steps: int = 0):
    yield f"attempt {run.attempt} "
    number = 0
    while number < steps or (not steps and not GO.exists()):
        with open(f"log-{run.attempt}", "a") as lines:
            lines.write(f"{number}\\n")
        await asyncio.sleep(0.02)
        number += 1

@app.function(concurrency_limit=None)
async def steps(number: int):
    for step in range(60):
        yield f"{step} "
        await asyncio.sleep(0.08)

@app.function(concurrency_id="pair", concurrency_limit=2)
def enter(number: int) -> int:
    with open("intervals", "a") as log:
        begun = time.monotonic()
        time.sleep(0.05)
        log.write(f"{begun} {time.monotonic()} {os.getpid()}\\n")
    return number

@app.function(concurrency_limit=None)
async def keep(name: str) -> int:
    child = await asyncio.create_subprocess_exec("sleep", "60")
    pathlib.Path(name).write_text(str(child.pid))
    return await child.wait()
"""

AGAIN = "".join([f"{number} " for number in range(50)])
