"""What a page is disturbed over: a text that grows, what follows it, a chat, and what is made as it goes."""

import time
from collections.abc import Iterator

import gradio as gr

STEP_S = 0.05


def grow(word: str, steps: float) -> Iterator[str]:
    for n in range(int(steps)):
        time.sleep(STEP_S)
        yield f"{word} " + "x" * (n + 1)


def count(text: str, before: int) -> tuple[str, int]:
    return f"{len(text)} characters, {before + 1} times", before + 1


def reply(message: str, _history: list[object]) -> Iterator[str]:
    for n in range(40):
        time.sleep(STEP_S)
        yield f"You said {message}. " + "y" * (n + 1)


with gr.Blocks() as demo:
    with gr.Row():
        word = gr.Textbox(label="Word", value="as built")
        steps = gr.Number(label="Steps", value=60)
        colour = gr.Radio(["red", "green"], label="Colour")
        kind = gr.Dropdown(["one", "two"], label="Kind", value="one")
        secret = gr.Textbox(label="Secret", type="password")
        made = gr.Textbox(lambda: f"made at {time.time()}", label="Made", interactive=True)
    grown = gr.Textbox(label="Grown")
    counted = gr.Textbox(label="Counted")
    told = gr.Textbox(label="Told")
    times = gr.State(0)
    run = gr.Button("Run")
    stop = gr.Button("Stop")
    tell = gr.Button("Tell")
    begun = run.click(grow, [word, steps], grown)
    begun.then(count, [grown, times], [counted, times])
    stop.click(None, cancels=[begun])
    tell.click(lambda *given: " ".join(map(str, given)), [word, steps, colour, kind, secret], told)

    rows = gr.Slider(1, 5, step=1, value=2, label="Rows")

    def make(wanted: int) -> None:
        for n in range(wanted):
            gr.Textbox(label=f"Row {n}", value=f"in row {n}")

    gr.render(inputs=rows)(make)
    gr.ChatInterface(reply, chatbot=gr.Chatbot(height=240))

if __name__ == "__main__":
    demo.queue(default_concurrency_limit=10).launch()
