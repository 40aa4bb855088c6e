"""The browser's client as an npm package: what is in it, that it can be imported and checked, how large it is."""

import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = Path("src/penstock/web/client")
PACKAGE: dict[str, Any] = json.loads((ROOT / CLIENT / "package.json").read_text(encoding="utf-8"))
EXPORTS = {name: entry for name, entry in PACKAGE["exports"].items() if isinstance(entry, dict)}

IMPORTED = re.compile(r"^(?:import|export) .*?from '(\.[^']+)';", re.MULTILINE | re.DOTALL)

PROGRAM = """
import { Client, PenstockError, fold, type StreamEvent } from '@penstock/client';
import { PenstockRun } from '@penstock/client/element';
import { Fold } from '@penstock/client/fold';

const client = new Client({ base: 'https://example.org/penstock/' });
const { run_id: run, position } = await client.submit('answer', { question: 'Why?' }, { session: 'ada' });
const place: number | null = position;
const words: string[] = [];
const subscription = client.subscribe(run, {
  onEvent(event: StreamEvent) {
    if (event.type === 'text') words.push(event.text);
    if (event.type === 'end') console.log(event.state, event.result, place);
  },
  onState: (state: Fold, changed) => console.log(state.textOf(''), changed.steps.size, changed.all),
  onStatus: ({ eta_s }) => console.log(eta_s),
});
const lag: number | null = subscription.lagMs;
const element = document.querySelector('penstock-run') as PenstockRun;
element.client = client;
await element.start({ question: 'Why?' }).catch((error: PenstockError) => console.log(error.field, lag));
console.log(fold([]).textOf(''));
// @ts-expect-error: a run is named by a string
client.subscribe(7);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package in a tree like ours, where packing may write."""
    target = tmp_path / CLIENT
    leftovers = shutil.ignore_patterns("types", "LICENSE", "node_modules", "*.tgz")
    shutil.copytree(ROOT / CLIENT, target, ignore=leftovers)
    shutil.copy(ROOT / "LICENSE", tmp_path)
    return target


def _run(folder: Path, *command: str) -> str:
    quiet = {"npm_config_cache": str(folder / ".npm"), "npm_config_update_notifier": "false"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=110, env=os.environ | quiet
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_version_is_that_of_the_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert PACKAGE["version"] == project["version"]
    assert PACKAGE["license"] == project["license"]
    assert f"VERSION = '{project['version']}';" in (ROOT / CLIENT / "version.js").read_text(encoding="utf-8")


def test_it_holds_its_modules_and_nothing_else(folder: Path, needs: Callable[[str], str]) -> None:
    (packed,) = json.loads(_run(folder, needs("npm"), "pack", "--dry-run", "--ignore-scripts", "--json"))
    modules = {path.relative_to(folder).as_posix() for path in folder.rglob("*.js")}
    assert {file["path"] for file in packed["files"]} == modules | {"package.json", "README.md"}


def test_a_script_without_a_page_can_import_it(folder: Path, needs: Callable[[str], str]) -> None:
    names = [name.replace(".", "@penstock/client", 1) for name in EXPORTS]
    script = (
        f"for (const name of {json.dumps(names)}) console.log(Object.keys(await import(name)).length > 0);"
    )
    answer = _run(folder, needs("node"), "--input-type=module", "--eval", script)
    assert answer.split() == ["true"] * len(names)


def test_what_is_packed_carries_its_types_and_its_licence(folder: Path, needs: Callable[[str], str]) -> None:
    tsc = needs("tsc")
    (packed,) = json.loads(_run(folder, needs("npm"), "pack", "--silent", "--json"))
    site = folder / "site"
    with tarfile.open(folder / packed["filename"]) as archive:
        archive.extractall(site, filter="data")
    installed = site / "node_modules/@penstock/client"
    installed.parent.mkdir(parents=True)
    (site / "package").rename(installed)
    assert (installed / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for entry in EXPORTS.values():
        assert (installed / entry["types"]).exists()
        assert (installed / entry["default"]).exists()
    (site / "program.ts").write_text(PROGRAM, encoding="utf-8")
    options = "--strict --noEmit --target es2022 --module es2022 --lib es2022,dom,dom.iterable"
    for resolution in ("node", "node16"):
        _run(site, tsc, *options.split(), "--moduleResolution", resolution, "program.ts")


def _loaded(module: Path, seen: set[Path] | None = None) -> set[Path]:
    """The module and all that it imports."""
    seen = seen if seen is not None else set()
    if module not in seen:
        seen.add(module)
        for name in re.findall(
            r"^(?:import|export) .*?from '(\.[^']+)';", module.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            _loaded((module.parent / name).resolve(), seen)
    return seen


def _sizes(entry: str) -> tuple[int, int]:
    """Of all that an entry loads, in KiB: as it is, and compressed file by file."""
    files = [path.read_bytes() for path in _loaded(ROOT / CLIENT / entry)]
    return sum(map(len, files)) // 1024, sum(len(gzip.compress(file)) for file in files) // 1024


@pytest.mark.parametrize("entry", ["index.js", "element.js"])
def test_its_size_is_that_of_the_docs(entry: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Within a fifth: who adds much to what a page loads sees it here."""
    raw, compressed = _sizes(entry)
    with capsys.disabled():
        print(f"\n{entry} and what it imports: {raw} KiB, {compressed} KiB compressed")
    text = (ROOT / "docs/browser.md").read_text(encoding="utf-8")
    (stated,) = re.findall(rf"`{entry}`\D*(\d+) KiB, (\d+) KiB compressed", text)
    assert [raw, compressed] == pytest.approx([int(number) for number in stated], rel=0.2)
