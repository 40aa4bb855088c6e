"""An app whose generators yield faster than anybody looks, of which one line merges."""

APP = """
import asyncio
import time

import gradio as gr
import numpy
import pandas
import PIL.Image
from gradio.components.base import StreamingOutput

from penstock.integrations.gradio.merging.merge import merge, unmerged
from penstock.integrations.gradio.merging.snapshots import snapshot

CLOSED = []
CHUNKS = []


class Media(StreamingOutput, gr.Textbox):
    # A streamed output, of which each chunk counts.

    def __init__(self):
        super().__init__()
        self.streaming = True

    def get_block_name(self):
        return "textbox"

    async def stream_output(self, value, output_id, first_chunk):
        if value is not None:
            CHUNKS.append(value)
        return None, {"path": output_id, "is_stream": True}

    async def combine_stream(self, stream, desired_output_format=None, only_file=False):
        raise NotImplementedError


def text(count):
    so_far = ""
    for number in range(int(count)):
        so_far += f"{number} "
        yield so_far


async def text_async(count):
    for value in text(count):
        yield value


def conversation(count):
    history = []
    for number in range(int(count)):
        if number % 100 == 0:
            history.append({"role": "assistant", "content": ""})
        history[-1]["content"] += f"{number} "
        yield history
    time.sleep(0.2)  # what is held becomes due, while the list goes on to change
    history.append({"role": "assistant", "content": "end"})
    yield history


def two(count):
    kept = {"said": []}
    for number in range(int(count)):
        kept["said"].append(number)
        yield str(number), kept, gr.skip()
    yield gr.skip(), kept, "done"
    kept["said"].append("after")


def kept_said(kept):
    return kept["said"]


def fail(count):
    yield from text(count)
    raise gr.Error("as it must be")


def wait():
    try:
        yield "a"
        while True:
            time.sleep(0.01)
            yield "b"
    except GeneratorExit:
        CLOSED.append("thread")
        raise


async def wait_async():
    try:
        yield "a"
        yield "b"
        await asyncio.sleep(30)
    except (asyncio.CancelledError, GeneratorExit):  # where it waits, or where it is paused
        CLOSED.append("task")
        raise


def closed():
    return CLOSED


def told(request: gr.Request, progress=gr.Progress()):
    for number in range(100):
        progress(number / 100)
        if number % 50 == 0:
            gr.Info(f"at {number}")
        time.sleep(0.002)
        yield request.session_hash


def heard(count):
    for number in range(int(count)):
        yield number


def chunks(count):
    for number in range(int(count)):
        yield f"chunk {number}"


def pieces(count: int):
    for number in range(count):
        yield f"{number} "


def copies():
    array, picture = numpy.zeros((2, 2)), PIL.Image.new("L", (2, 2))
    frame, message = pandas.DataFrame({"a": [1]}), gr.ChatMessage("x")
    fixed = snapshot([array, picture, frame, message, frame["a"], numpy.int64(3)])
    array[0, 0], message.content = 1, "y"
    picture.putpixel((0, 0), 9)
    frame.loc[0, "a"] = 2
    return [fixed[0][0][0] == 0, fixed[1].getpixel((0, 0)) == 0, int(fixed[2]["a"][0]) == 1,
            fixed[3].content == "x", int(fixed[4][0]) == 1, int(fixed[5]) == 3]  # fmt: skip


OLD = {"type": "messages"} if gr.__version__.startswith("5") else {}

with gr.Blocks() as demo:
    number, box, other = gr.Number(), gr.Textbox(), gr.Textbox()
    state, heard_state, json, chat, media = gr.State(), gr.State(), gr.JSON(), gr.Chatbot(**OLD), Media()
    for function, inputs, outputs in (
        (text, number, box),
        (text_async, number, box),
        (conversation, number, chat),
        (two, number, [box, state, other]),
        (kept_said, state, json),
        (fail, number, box),
        (wait, None, box),
        (wait_async, None, box),
        (closed, None, json),
        (told, None, box),
        (heard, number, heard_state),
        (chunks, number, media),
        (copies, None, json),
    ):
        gr.Button().click(function, inputs, outputs, api_name=function.__name__)
    gr.Button().click(unmerged(heard), number, box, api_name="every")
    heard_state.change(lambda: None, None, None)
    gr.api(pieces, api_name="pieces")
    media.change(lambda: CHUNKS, None, json, api_name="chunks_said")

merge(demo, 20)
demo.launch()
"""
