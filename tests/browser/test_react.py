"""The React hook of the docs, as it stands there, in a real React app that is served from another origin."""

import asyncio
import gzip
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from penstock.server.connection import Connection
from penstock.testing import live_server, until

from . import react_app
from .element_pages import Host, chromium

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/browser.md"
CLIENT = ROOT / "src/penstock/web/client"

PACKAGES = ("react@19", "react-dom@19", "esbuild@0.25")

JAVASCRIPT = "text/javascript"

BASE = "https://runs.example.org/"
"""What the docs have where a real address belongs."""

MAIN = """
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Answer } from './Answer.jsx';
import { client } from './useRun.js';
import '@penstock/client/element';

window.root = createRoot(document.querySelector('main'));
root.render(<StrictMode><Answer /></StrictMode>);

window.show = async (question) => {
  const { run_id: run } = await client.submit('answer', { question });
  createRoot(document.querySelector('aside')).render(<penstock-run run={run} client={client} noStop={true} />);
};
"""

DEVELOPMENT = '--define:process.env.NODE_ENV="development"'
"""React's own checks, of stable snapshots among others, are in its development build."""

HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><title>React</title><link rel="icon" href="data:,">
<main></main><aside></aside><script type="module" src="main.js"></script></html>"""


def _npm(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # Without a network it is to say so soon: the test then ends with those words.
    patience = {"fetch_retries": "1", "fetch_retry_mintimeout": "1000", "fetch_timeout": "30000"}
    options = {"update_notifier": "false", "fund": "false", "audit": "false"} | patience
    quiet = {f"npm_config_{name}": value for name, value in options.items()}
    return subprocess.run(
        ["npm", *command], cwd=folder, capture_output=True, text=True, timeout=100, env=os.environ | quiet
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Path:
    """A folder with the pieces of the docs and what they import, our package among it as npm packs it."""
    needs("npm")
    folder = tmp_path_factory.mktemp("react")
    (folder / "package.json").write_text('{ "private": true, "type": "module" }', encoding="utf-8")
    shutil.copytree(
        CLIENT, folder / "client", ignore=shutil.ignore_patterns("types", "node_modules", "*.tgz")
    )
    packed = _npm(folder / "client", "pack", "--silent", "--ignore-scripts")
    assert packed.returncode == 0, packed.stderr
    archive = folder / "client" / packed.stdout.strip()
    done = _npm(folder, "install", "--no-save", "--ignore-scripts", *PACKAGES, str(archive))
    if done.returncode:
        message = (
            f"npm could not install {', '.join(PACKAGES)}, and this test needs them: {done.stderr[-500:]}"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    for name, source in re.findall(r"```jsx?\n// (\w+\.jsx?)\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL):
        (folder / name).write_text(source, encoding="utf-8")
    (folder / "main.jsx").write_text(MAIN, encoding="utf-8")
    return folder


def _bundle(project: Path, module: str, *options: str) -> bytes:
    """What esbuild makes of a module and all that it imports."""
    esbuild = project / "node_modules/.bin/esbuild"
    command = [str(esbuild), "--bundle", "--jsx=automatic", "--target=es2022", *options, module]
    done = subprocess.run(command, cwd=project, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _allowing(origin: str) -> Any:
    """What the docs make of an app that pages of another origin may use."""
    (source,) = re.findall(
        r"```python\n(from starlette.middleware.cors.*?)```", DOCS.read_text("utf-8"), re.DOTALL
    )
    names: dict[str, Any] = {"app": react_app.app}
    exec(source.replace("https://app.example.org", origin), names)
    return names["site"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(project: Path, needs: Callable[[str], str]) -> AsyncIterator[Host]:
    """The app, open in a browser."""
    site = project / "site"
    site.mkdir()
    (site / "index.html").write_text(HTML, encoding="utf-8")
    pages = Starlette(routes=[Mount("/", StaticFiles(directory=site, html=True))])
    async with live_server(pages) as page_url:
        served = _allowing(page_url)
        async with live_server(served, http=Connection) as url:
            hook = project / "useRun.js"
            hook.write_text(hook.read_text(encoding="utf-8").replace(BASE, f"{url}/"), encoding="utf-8")
            bundle = await asyncio.to_thread(_bundle, project, "main.jsx", "--format=esm", DEVELOPMENT)
            (site / "main.js").write_bytes(bundle)
            async with chromium(needs("chromium")) as browser:
                host = Host(await browser.new_page(), url)
                await host.page.goto(f"{page_url}/")
                yield host
                await host.page.close()
            react_app.app.configure(grace_s=0)


async def _ask(page: Page, question: str) -> None:
    await page.get_by_label("Question").fill(question)
    await page.get_by_role("button", name="Ask").click()


async def test_the_hook_shows_a_run_as_it_streams(host: Host) -> None:
    await _ask(host.page, "why does the wheel turn?")
    await host.page.get_by_role("status").filter(has_text="succeeded").wait_for()
    text = await host.page.get_by_role("article").inner_text()
    assert text.strip() == "You asked: why does the wheel turn?"
    assert host.bugs == []


async def test_strict_mode_leaves_one_reader_and_unmounting_none(host: Host) -> None:
    """It subscribes twice: the first must be let go of."""
    services = await react_app.app.start()
    await _ask(host.page, "wait")
    await host.page.get_by_text("You asked: wait").wait_for()
    assert services.hub.subscribers == 1
    await host.page.evaluate("root.unmount()")
    await until(lambda: services.hub.subscribers == 0)
    assert host.bugs == []


async def test_the_hook_stops_a_run(host: Host) -> None:
    await host.page.reload()
    await _ask(host.page, "wait")
    await host.page.get_by_text("You asked: wait").wait_for()
    await host.page.get_by_role("button", name="Stop").click()
    await host.page.get_by_role("status").filter(has_text="cancelled").wait_for()
    assert host.bugs == []


async def test_the_element_takes_its_properties_from_jsx(host: Host) -> None:
    await host.page.evaluate("show('as an element?')")
    await host.has("answer", "You asked: as an element?")
    assert await host.run_js("[it.noStop, it.client.base]") == [True, f"{host.url}/"]
    assert host.bugs == []


@pytest.mark.parametrize("kind", ["esm", "iife"])
async def test_a_bundle_on_the_servers_own_origin_reads_without_the_worker(
    host: Host, project: Path, kind: str
) -> None:
    """The worker's module is not beside it: it can't share its connection, and does not mind."""
    bundle = await asyncio.to_thread(_bundle, project, "main.jsx", f"--format={kind}", DEVELOPMENT)

    async def answer(route: Route) -> None:
        is_page = route.request.url.endswith(".html")
        await route.fulfill(
            body=HTML if is_page else bundle, content_type="text/html" if is_page else JAVASCRIPT
        )

    assert host.page.context.browser is not None
    context = await host.page.context.browser.new_context()
    page = await context.new_page()
    bugs: list[str] = []
    page.on("pageerror", lambda error: bugs.append(str(error)))
    await page.route("**/{page.html,main.js}", answer)
    await page.goto(f"{host.url}/page.html")
    await _ask(page, "still there?")
    await page.get_by_role("status").filter(has_text="succeeded").wait_for()
    assert (await page.get_by_role("article").inner_text()).strip() == "You asked: still there?"
    assert bugs == []
    await context.close()


@pytest.mark.parametrize("module", ["index.js", "element.js"])
async def test_its_size_in_a_bundle_is_that_of_the_docs(
    project: Path, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within a fifth, in KiB."""
    bundle = await asyncio.to_thread(_bundle, project, f"./client/{module}", "--format=esm", "--minify")
    sizes = [round(len(data) / 1024) for data in (bundle, gzip.compress(bundle))]
    with capsys.disabled():
        print(f"\n{module} in a bundle: {sizes[0]} KiB, {sizes[1]} KiB compressed")
    (stated,) = re.findall(
        rf"`{module}`.*\| (\d+) KiB, (\d+) KiB compressed \|$", DOCS.read_text("utf-8"), re.MULTILINE
    )
    assert sizes == pytest.approx([int(number) for number in stated], rel=0.2)
