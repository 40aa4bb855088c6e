"""A page with all that people put in, none of which is sent until they press Tell."""

import json
from pathlib import Path
from typing import Any

import gradio as gr

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "gradio-traces.png"


def simple(value: Any) -> Any:
    """What a function is given, as JSON; of a file that is there its name."""
    if isinstance(value, dict):
        return {name: simple(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [simple(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return f"file {Path(value).name}" if Path(value).exists() else "no file"
    return value


def tell(*values: Any) -> str:
    return json.dumps(dict(zip(NAMES, map(simple, values), strict=True)))


NAMES: list[str] = []

with gr.Blocks() as demo:
    made = [
        gr.Textbox(label="text"),
        gr.Textbox(label="secret", type="password"),
        gr.Number(label="number", value=1),
        gr.Slider(0, 10, step=1, label="slider", value=2),
        gr.Checkbox(label="checkbox"),
        gr.CheckboxGroup(["a", ("b", 2), "c"], label="checkboxes", value=["a"]),
        gr.Radio([("one", 1), ("two", 2)], label="radio"),
        gr.Dropdown([("one", 1), ("two", 2)], label="dropdown", value=1),
        gr.Dropdown(["one"], label="custom", allow_custom_value=True),
        gr.Dropdown(["red", "green", ("blue", 3)], label="several", multiselect=True, value=["green"]),
        gr.ColorPicker(label="colour", value="#000000"),
        gr.DateTime(label="time", type="string"),
        gr.Code(label="code", language="python"),
        gr.File(label="file"),
        gr.File(label="files", file_count="multiple"),
        gr.Image(label="image", type="filepath"),
        gr.Image(label="picture", type="filepath", value=str(PICTURE)),
        gr.Audio(label="audio", type="filepath"),
        gr.Video(label="video"),
        gr.Gallery(label="gallery", type="filepath", interactive=True),
        gr.MultimodalTextbox(label="message", file_count="multiple"),
        gr.Dataframe(
            [["x", 1], ["y", 2]], headers=["name", "n"], label="table", type="array", interactive=True
        ),
    ]
    for one in made:
        NAMES.append(one.label)
        one.elem_id, one.label = one.label, one.label.capitalize()
    note = gr.Textbox(label="Note", elem_id="note")
    told = gr.Textbox(label="Told", elem_id="told")
    gr.Button("Tell", elem_id="tell").click(tell, made, told)

if __name__ == "__main__":
    demo.launch()
