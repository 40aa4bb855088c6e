"""An ordinary Gradio app, whose pages the tests disturb. It writes down what its generators did."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

NOTES = Path(os.environ.get("FAULTY_APP_NOTES", "."))

LINE = int(os.environ.get("FAULTY_APP_LINE", "40"))
"""Stories told at once."""


def note(name: str, **what: object) -> None:
    with (NOTES / f"{name}.jsonl").open("a") as notes:
        notes.write(json.dumps(what) + "\n")


def paced(name: str) -> float:
    """Seconds that a story pauses from now on, if it was told so meanwhile."""
    path = NOTES / f"{name}.pause"
    return float(path.read_text()) if path.exists() else 0


def story(prompt: str) -> Iterator[str]:
    """Tells `NAME STEPS PAUSE_S`: a text that grows by a word a step."""
    name, steps, pause_s = prompt.split()
    said: list[str] = []
    note(name, at="start")
    try:
        for step in range(1, int(steps) + 1):
            said.append(f"word{step}")
            note(name, at=step)
            yield " ".join(said)
            time.sleep(paced(name) or float(pause_s))
        note(name, at="end")
    finally:
        note(name, at="closed")


def flood(name: str, steps: float, size_bytes: float) -> Iterator[str]:
    """Yields a lot, as fast as it is taken."""
    for step in range(1, int(steps) + 1):
        yield f"{step}:".ljust(int(size_bytes), "x")
    note(name, at="end")


def work(steps: float, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - as Gradio has it
    """Something with a progress bar."""
    for step in range(int(steps)):
        progress((step, int(steps)), desc=f"part {step}")
        time.sleep(0.2)
    return "worked"


def counts(so_far: int) -> tuple[int, str]:
    """Counts in gr.State, and never says the same twice."""
    return so_far + 1, f"{so_far + 1} at {time.time()}"


with gr.Blocks(title="Faulty") as demo:
    counter = gr.State(0)
    with gr.Row():
        prompt = gr.Textbox(label="Prompt", elem_id="prompt")
        unsent = gr.Textbox(label="A note that is sent nowhere", elem_id="unsent")
    told = gr.Textbox(label="Story", elem_id="told", lines=3)
    words = gr.Textbox(label="How many words", elem_id="words")
    with gr.Row():
        tell = gr.Button("Tell", elem_id="tell")
        then_tell = gr.Button("Tell another", elem_id="then-tell")
        count = gr.Button("Count", elem_id="count")
    next_told = gr.Textbox(label="Another story", elem_id="next-told")
    counted = gr.Textbox(label="Counted", elem_id="counted")

    line = {"concurrency_id": "line", "concurrency_limit": LINE}
    tell.click(story, prompt, told, api_name="story", **line).then(
        lambda text: str(len(text.split())), told, words, api_name="words"
    )
    then_tell.click(story, prompt, next_told, api_name="another", **line)
    count.click(counts, counter, [counter, counted], api_name="count")

    with gr.Row(visible=False):
        name, steps, size, result = gr.Textbox(), gr.Number(), gr.Number(), gr.Textbox()
        flooding, working, asking = gr.Button(), gr.Button(), gr.Button()
    flooding.click(flood, [name, steps, size], result, api_name="flood", concurrency_limit=4)
    working.click(work, steps, result, api_name="work", concurrency_limit=4)
    asking.click(lambda text: text, name, result, api_name="echo", concurrency_limit=40)

if __name__ == "__main__":
    demo.launch()
