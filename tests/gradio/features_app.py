"""A Gradio app that uses what Gradio has, and writes down what happens in it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, MediaStreamChunk

NOTES = Path(os.environ.get("FEATURES_APP_NOTES", "."))

CACHED = getattr(gr, "cache", lambda call: call)
"""Versions before 6.16 or so have none."""


def note(name: str, what: object) -> None:
    with (NOTES / f"{name}.jsonl").open("a") as notes:
        notes.write(json.dumps(what) + "\n")


# --- For clients ---


def double(number: float) -> float:
    return number * 2


def spell(word: str) -> Iterator[str]:
    for end in range(1, len(word) + 1):
        yield word[:end]
        time.sleep(0.1)


def counts(so_far: int) -> tuple[int, int]:
    return so_far + 1, so_far + 1


def long(name: str) -> Iterator[int]:
    try:
        for step in range(1, 301):
            yield step
            time.sleep(0.1)
        note(name, "end")
    finally:
        note(name, "closed")


def lengths(words: list[str]) -> list[list[int]]:
    time.sleep(0.3)  # so that others gather
    note("batches", len(words))
    return [[len(word) for word in words]]


def steps(count: float, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - as Gradio has it
    for step in range(int(count)):
        progress((step, int(count)), desc="Stepping", unit="steps")
        time.sleep(0.15)
    return "stepped"


def tracked(count: float, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> str:  # noqa: B008
    from tqdm import tqdm  # type: ignore[import-untyped]

    for _ in tqdm(range(int(count)), desc="Tracking"):
        time.sleep(0.15)
    return "tracked"


def talk(name: str) -> str:
    gr.Info(f"Hello {name}", duration=4, title="Greeting")
    gr.Warning("Mind the gap", duration=4)
    return "talked"


def fail(kind: str) -> str:
    if kind == "gradio":
        raise gr.Error("It can't be done", duration=4, title="Sorry")
    raise ValueError("an error of the app's own")


def upper(path: str) -> str:
    return Path(path).read_text().upper()


def written(text: str) -> str:
    path = NOTES / "written.txt"
    path.write_text(text)
    return str(path)


@CACHED  # type: ignore[untyped-decorator]
def costly(number: float) -> float:
    note("costly", number)
    return number + 1


def checked(number: float) -> str:
    return f"{number:g} is right"


def check(number: float) -> Any:
    return gr.validate(number > 0, "It must be more than nothing")


async def as_it_is(value: bytes | None, output_id: str, _: bool) -> tuple[MediaStreamChunk | None, Any]:
    """A piece of streamed sound, on machines that can't encode any."""
    file = FileData(path=output_id, is_stream=True, orig_name="sound.mp3").model_dump()
    return (MediaStreamChunk(data=value, duration=0.5, extension=".aac") if value else None), file


def sound(count: float) -> Iterator[bytes]:
    for piece in range(int(count)):
        yield bytes([piece]) * 1000
        time.sleep(0.1)


# --- For pages ---


def seen_frames(frame: Any, so_far: int) -> tuple[int, str]:
    return so_far + 1, f"{so_far + 1} frames, {'some' if frame is not None else 'none'}"


def once(name: str) -> str:
    note(name, "begun")
    time.sleep(1)
    return name


def slowly(text: str) -> str:
    note("typed", text)
    time.sleep(0.3)
    return text


def later(so_far: str) -> str:
    return f"{so_far}."


def chat(message: str, history: list[Any]) -> Iterator[str]:
    reply = f"{message}, said after {len(history)}"
    for end in range(4, len(reply) + 4, 4):
        yield reply[:end]
        time.sleep(0.06)


def boxes(count: float, store: gr.State) -> None:
    @gr.render(inputs=count)  # type: ignore[untyped-decorator]
    def draw(many: float) -> None:
        for number in range(int(many)):
            box = gr.Textbox(label=f"Box {number}", elem_id=f"box-{number}")
            button = gr.Button(f"Fill {number}", elem_id=f"fill-{number}")
            button.click(lambda so_far, n=number: f"filled {n} of {so_far}", store, box)


def clients() -> None:
    text, number, word = gr.Textbox(), gr.Number(), gr.Textbox()
    state, file, result, count = gr.State(0), gr.File(), gr.Textbox(), gr.Number()
    go = [gr.Button() for _ in range(18)]
    button = iter(go)
    next(button).click(double, number, count, api_name="double")
    next(button).click(spell, text, word, api_name="spell")
    next(button).click(counts, state, [state, count], api_name="count")
    next(button).click(long, text, count, api_name="long", concurrency_limit=5)
    next(button).click(
        lengths, text, count, api_name="lengths", batch=True, max_batch_size=4, concurrency_limit=1
    )
    next(button).click(steps, number, result, api_name="steps", concurrency_limit=5)
    next(button).click(tracked, number, result, api_name="tracked", concurrency_limit=5)
    next(button).click(talk, text, result, api_name="talk")
    next(button).click(fail, text, result, api_name="fail")
    next(button).click(double, number, count, api_name="direct", queue=False)
    next(button).click(upper, file, result, api_name="upper")
    next(button).click(written, text, file, api_name="written")
    next(button).click(costly, number, count, api_name="costly")
    next(button).click(checked, number, result, api_name="checked", validator=check)
    pieces = gr.Audio(streaming=True)
    pieces.stream_output = as_it_is
    next(button).click(sound, number, pieces, api_name="sound")


def chains() -> None:
    kind, first, then, well, badly = (
        gr.Textbox(elem_id=name) for name in ("kind", "first", "then", "well", "badly")
    )
    start = gr.Button("Start", elem_id="start")
    event = start.click(lambda kind: fail(kind) if kind else "done", kind, first, api_name="chain")
    event.then(lambda: "then", None, then)
    event.success(lambda said: f"well: {said}", first, well)
    event.failure(lambda: "badly", None, badly)


def buttons() -> None:
    name = gr.Textbox(elem_id="name")
    going, ticked, echoed, states = (
        gr.Textbox(elem_id=name) for name in ("going", "ticked", "echoed", "states")
    )
    going_on = gr.Button("Go on", elem_id="go-on").click(long, name, going, api_name="go_on")
    gr.Button("Stop", elem_id="stop").click(None, None, None, cancels=[going_on])
    gr.Button("Once", elem_id="once").click(once, name, echoed, trigger_mode="once")
    gr.Button("Multiple", elem_id="multiple").click(
        once, name, echoed, trigger_mode="multiple", concurrency_limit=3
    )
    typed, last = gr.Textbox(elem_id="typed"), gr.Textbox(elem_id="last")
    typed.input(slowly, typed, last, trigger_mode="always_last")
    mine = gr.State(0, delete_callback=lambda value: note("deleted", value))
    gr.Button("Mine", elem_id="mine").click(lambda n: (n + 1, str(n + 1)), mine, [mine, states])
    timer = gr.Timer(0.4)
    timer.tick(later, ticked, ticked)
    gr.Textbox(lambda: f"{time.time()}", every=0.5, elem_id="every")
    gr.Button("Talk", elem_id="talk").click(talk, name, echoed)
    gr.Button("Fail", elem_id="fail").click(lambda: fail("gradio"), None, echoed)
    number = gr.Number(3, elem_id="number")
    gr.Button("Steps", elem_id="steps").click(steps, number, echoed, show_progress="full")
    boxes(gr.Number(2, elem_id="boxes"), mine)
    file, read = gr.File(elem_id="file"), gr.Textbox(elem_id="read")
    file.upload(upper, file, read)
    gr.Button("Write", elem_id="write").click(written, name, gr.File(elem_id="written"))


def camera() -> None:
    image, so_far, frames = (
        gr.Image(sources="webcam", streaming=True, elem_id="camera"),
        gr.State(0),
        gr.Textbox(elem_id="frames"),
    )
    image.stream(seen_frames, [image, so_far], [so_far, frames], stream_every=0.2, time_limit=20)


with gr.Blocks(title="Features") as demo:
    loaded = gr.Textbox(elem_id="loaded")
    with gr.Row(visible=False):
        clients()
    with gr.Tab("Chains"):
        chains()
    with gr.Tab("Buttons"):
        buttons()
    with gr.Tab("Camera"):
        camera()
    with gr.Tab("Chat"):
        gr.ChatInterface(chat, api_name="chat")
    with gr.Tab("Interface"):
        gr.Interface(
            lambda name: f"Hello, {name}",
            gr.Textbox(elem_id="who"),
            gr.Textbox(elem_id="hello"),
            api_name="hello",
        )
    demo.load(lambda: "loaded", None, loaded)
    demo.unload(lambda: note("unload", "left"))

with demo.route("Another page", "/another"):
    asked, right = gr.Number(3, elem_id="asked"), gr.Textbox(elem_id="right")
    gr.Button("Check", elem_id="check").click(checked, asked, right, validator=check)

if __name__ == "__main__":
    demo.launch(allowed_paths=[str(NOTES)])
