"""Which Gradio app `penstock serve` serves, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from .server import ENDS, environment, find_python, run

APPS = {
    "launched": "with gradio.Blocks() as one: ...\n"
    "with gradio.Blocks() as demo: ...\none.launch(max_threads=3)\nprint('on')",
    "guarded": "with gradio.Blocks() as one: ...\nif __name__ == '__main__':\n    one.launch()",
    "demo": "with gradio.Blocks() as other: ...\nwith gradio.Blocks() as demo: ...",
    "several": "with gradio.Blocks() as one: ...\nwith gradio.Blocks() as other: ...",
    "none": "one = 1",
    "twice": "with gradio.Blocks() as one: ...\n"
    "one.launch(show_error=True)\none.launch(None, False, server_port=7)",
    "tls": "with gradio.Blocks() as one: ...\none.launch(ssl_keyfile='k', ssl_certfile='c')",
    "port": "with gradio.Blocks() as one: ...\none.launch(server_port=4567, server_name='0.0.0.0', share=True)",
}

FIND = """
import sys
from penstock.errors import ConfigError
from penstock.hosting import Host, catch_launches, find_blocks
from penstock.serve import load_target

def find(target):
    with catch_launches() as caught:
        module, place, name = load_target(target)
    try:
        found = find_blocks(module, place, name, caught)
    except ConfigError as error:
        return str(error)
    if found is None:
        return None
    names = [key for key, value in vars(module).items() if value is found.blocks]
    return names, found.arguments

for target in {targets!r}:
    print(target, "->", find(target))
with catch_launches() as caught:
    loaded = load_target("port.py")
host = Host(find_blocks(*loaded, caught), {{"store": "memory:", "port": None}})
print(host.settings.host, host.settings.port, host.settings.store)
print(Host(find_blocks(*loaded, caught), {{"port": "99"}}).settings.port)

import penstock.gradio
from penstock.integrations.gradio.install import installed
penstock.gradio.install(store="memory:")
print(penstock.gradio._make_app(installed(), False).settings.store)
"""


def write(folder: Path) -> None:
    for name, source in APPS.items():
        (folder / f"{name}.py").write_text(f"import gradio\n{source}\n")


@pytest.mark.parametrize("version", ENDS)
async def test_the_app_that_is_meant_is_found(version: str, tmp_path: Path) -> None:
    write(tmp_path)
    targets = [f"{name}.py" for name in APPS if name not in ("tls", "port")] + [
        "several.py:other",
        "demo.py:nobody",
    ]
    lines = (await run(version, FIND.format(targets=targets), cwd=tmp_path)).splitlines()
    found = dict(line.split(" -> ") for line in lines if " -> " in line)
    assert found == {
        "launched.py": "(['one'], {'max_threads': 3})",
        "guarded.py": "(['one'], {})",
        "demo.py": "(['demo'], {})",
        "several.py": "several.py has several Gradio apps: one, other.",
        "none.py": "None",
        "twice.py": "(['one'], {'inline': None, 'inbrowser': False, 'server_port': 7})",
        "several.py:other": "(['other'], {})",
        "demo.py:nobody": "None",
    }
    assert lines[-3:] == ["0.0.0.0 4567 memory:", "99", "memory:"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["tls.py"], "launch() asks for ssl_keyfile, and penstock serve speaks no TLS."),
        (["none.py"], "none.py has neither an App nor a Gradio app.\n"),
        (["none.py"], "found as `demo`"),
        (["demo.py:nobody"], "demo.py has no Gradio app named 'nobody'."),
        (["launched.py", "--workers", "2"], "Gradio keeps its sessions in one process"),
    ],
    ids=["tls", "none", "hint", "name", "workers"],
)
def test_what_can_not_be_served_is_said(options: list[str], said: str, tmp_path: Path) -> None:
    write(tmp_path)
    argv = [find_python("6.0"), "-m", "penstock", "serve", *options]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "penstock", "gradio", "nowhere.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90)
    assert done.returncode == 2
    assert "There is no file nowhere.py." in done.stderr


def test_a_program_that_launches_nothing_is_said(tmp_path: Path) -> None:
    source = "import gradio\nwith gradio.Blocks() as demo: ...\ndemo.queue()\n"
    (tmp_path / "app.py").write_text(source)
    argv = [sys.executable, "-m", "penstock", "gradio", "app.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90)
    assert done.returncode == 1
    assert "app.py has launched no Gradio app" in done.stderr
    assert len(done.stderr.splitlines()) == 1
