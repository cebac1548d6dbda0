"""A real JupyterLab in a real Chromium: notebooks are opened, run and looked at as a person would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest

import convai_lab
from convai_lab.providers.base import AudioChunk
from convai_lab.providers.offline_speech.espeak import EspeakTTS
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import wav_bytes

REQUIRED = os.environ.get("CONVAI_LAB_REQUIRE_BROWSER") == "1"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-capture",
    "--use-fake-device-for-media-stream",
)
SERVER_STARTS_WITHIN_SECS = 60
PAGE_READY_MS = 90_000

AUDIO = Path(convai_lab.__file__).parent.parent / "datasets" / "audio"

RUN_CELL = """index => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  notebook.deselectAll();
  return jupyterapp.commands.execute('notebook:run-cell');
}"""
START_CELL = "index => { (" + RUN_CELL + ")(index); }"
IS_IDLE = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
PAGE_EARS = (Path(__file__).parent / "page_ears.js").read_text(encoding="utf-8")
IN_KERNEL = """async code => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false});
  let text = '';
  future.onIOPub = ({content}) => {
    text += content.text ?? (content.ename ? `${content.ename}: ${content.evalue}` : '');
  };
  await future.done;
  return text.trim();
}"""
OUTPUTS = "index => jupyterapp.shell.currentWidget.content.widgets[index].model.toJSON().outputs"


def _chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None or shutil.which("jupyter-lab", path=str(Path(sys.executable).parent)) is None:
        reason = "needs Chromium and JupyterLab; see the README for the browser tests"
        pytest.fail(reason) if REQUIRED else pytest.skip(reason)
    return str(found)


class LabServer:
    """A JupyterLab server of its own, on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, secrets.token_hex(8)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.environment = {
            **os.environ,
            "CONVAI_LAB_HOME": str(folder / "home"),
            "JUPYTER_CONFIG_DIR": str(folder / "c"),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
        command += [f"--ServerApp.port={self.url.rsplit(':', 1)[1]}", f"--IdentityProvider.token={self.token}"]
        command += [
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
        ]
        with (self.folder / "server.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        give_up_at = time.monotonic() + SERVER_STARTS_WITHIN_SECS
        while time.monotonic() < give_up_at:
            try:
                urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=1).close()
                return process
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.1)
        process.kill()
        raise AssertionError((self.folder / "server.log").read_text(errors="replace")[-2000:])


class OpenNotebook:
    """One notebook in one page."""

    def __init__(
        self, browser: Any, server: LabServer, name: str, *, dark: bool = False, permissions: tuple[str, ...] = ()
    ) -> None:
        self.context = browser.new_context(viewport={"width": 1200, "height": 1500})
        self.context.grant_permissions(list(permissions), origin=server.url)
        self.page = self.context.new_page()
        self.page.add_init_script(PAGE_EARS)
        self.problems: list[str] = []
        self.console: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.console.append(said.text) if said.type == "error" else None)
        self.page.goto(f"{server.url}/lab/tree/{name}?reset&token={server.token}")
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=PAGE_READY_MS)
        if dark:
            self.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
        self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
        self.page.wait_for_function(IS_IDLE, timeout=PAGE_READY_MS)

    def run(self, index: int) -> list[dict[str, Any]]:
        """Run one cell, wait for its end, and return its outputs."""
        self.page.evaluate(RUN_CELL, index)
        return self.outputs(index)

    def start(self, index: int) -> None:
        """Start one cell and do not wait."""
        self.page.evaluate(START_CELL, index)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return the outputs of one cell as the notebook file would hold them."""
        found: list[dict[str, Any]] = self.page.evaluate(OUTPUTS, index)
        return found

    def text(self, index: int) -> str:
        """Return what a reader sees below one cell."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(index)
        return str(cell.locator(".jp-OutputArea").inner_text())

    def in_kernel(self, code: str) -> str:
        """Run code that is in no cell, and return what it prints."""
        return str(self.page.evaluate(IN_KERNEL, code))

    def interrupt(self) -> None:
        """Press the stop button."""
        self.page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")


@pytest.fixture(scope="package")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The WAV file that the browser takes for a microphone: read anew, from its start, each time one is opened."""
    return tmp_path_factory.mktemp("microphone") / "microphone.wav"


@pytest.fixture(scope="package")  # not session: Playwright's loop would seem to run in every test after these
def browser(microphone: Path) -> Iterator[Any]:
    chromium = _chromium()
    from playwright.sync_api import sync_playwright

    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, headless=True, args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[LabServer]:
    server = LabServer(tmp_path_factory.mktemp("jupyter"))
    process = server.start()
    yield server
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="package")
def voices() -> dict[str, str]:
    """What is said, as WAV files in base64, for `window.speak` of the ears."""

    async def thanks() -> bytes:
        voice = EspeakTTS()
        chunks = [item async for item in voice.synthesize("thank you", voice="Sarah") if isinstance(item, AudioChunk)]
        return wav_bytes(Sound(b"".join(chunk.pcm for chunk in chunks), voice.capabilities.rate_hz))

    with ThreadPoolExecutor(1) as beside:  # Playwright's loop runs in this thread
        said = beside.submit(lambda: asyncio.run(thanks())).result()
    spoken = {"where is my order one two three four": (AUDIO / "order.wav").read_bytes(), "thank you": said}
    return {words: base64.b64encode(wav).decode() for words, wav in spoken.items()}


@contextlib.contextmanager
def _opening(browser: Any, lab: LabServer) -> Iterator[Any]:
    opened: list[OpenNotebook] = []

    def open_cells(cells: list[str] | Path, *, dark: bool = False, permissions: tuple[str, ...] = ()) -> OpenNotebook:
        name = f"notebook_{secrets.token_hex(4)}.ipynb"
        if isinstance(cells, Path):
            shutil.copy(cells, lab.folder / name)
        else:
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
            made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel)
            nbformat.write(made, lab.folder / name)
        opened.append(OpenNotebook(browser, lab, name, dark=dark, permissions=permissions))
        return opened[-1]

    yield open_cells
    for notebook in opened:
        notebook.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        notebook.context.close()


@pytest.fixture
def open_notebook(browser: Any, lab: LabServer) -> Iterator[Any]:
    with _opening(browser, lab) as open_cells:
        yield open_cells


@pytest.fixture(scope="module")
def open_shared_notebook(browser: Any, lab: LabServer) -> Iterator[Any]:
    """Opens notebooks that all tests of a file work in."""
    with _opening(browser, lab) as open_cells:
        yield open_cells
