"""A real IPython shell with the extension loaded, on a real local platform of its own."""

from __future__ import annotations

import asyncio
import builtins
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from comm.base_comm import BaseComm
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output

from convai_lab import background, settings
from convai_lab.agents.agent import Agent
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn
from convai_lab.workspace.live_events import EngineNames


class Notebook:
    """Runs cells as Jupyter would, and keeps what each of them showed."""

    def __init__(self, home: str) -> None:
        self.home = home
        vars(builtins).pop("_", None)  # doctest and gettext put one there, and IPython then keeps its hands off `_`
        InteractiveShell.clear_instance()
        self.shell = InteractiveShell.instance()
        self.shell.run_cell("%load_ext convai_lab")
        self.shown: list[RichOutput] = []
        self.stdout = ""
        self.error: BaseException | None = None

    def run(self, cell: str) -> Any:
        """Run one cell and return its result; an error is kept, not raised."""
        with capture_output() as captured:
            done = self.shell.run_cell(cell, store_history=True)
        self.shown, self.stdout = captured.outputs, captured.stdout
        self.error = done.error_in_exec or done.error_before_exec
        return done.result

    def must(self, cell: str) -> Any:
        """Run one cell that must not fail."""
        result = self.run(cell)
        assert self.error is None, f"{type(self.error).__name__}: {self.error}\n{self.stdout}"
        return result

    def fails(self, cell: str) -> str:
        """Run one cell that must fail with one line, and return that line."""
        self.run(cell)
        assert self.error is not None, "the cell did not fail"
        lines = self.error._render_traceback_()  # type: ignore[attr-defined]
        assert len(lines) == 1
        return str(lines[0])

    def in_a_new_kernel(self, cell: str) -> str:
        """Run one cell in another Python on the same data folder, and return all that it printed."""
        code = f"%load_ext convai_lab\n{cell}"
        command = [sys.executable, "-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor", "-c", code]
        done = subprocess.run(
            command, env={**os.environ, settings.HOME_VARIABLE: self.home}, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    @property
    def html(self) -> str:
        """Return all HTML that the last cell showed."""
        return "\n".join(str(output.data.get("text/html", "")) for output in self.shown)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    before = os.environ.get(settings.HOME_VARIABLE)
    home = str(tmp_path_factory.mktemp("lab"))
    os.environ[settings.HOME_VARIABLE] = home
    try:
        made = Notebook(home)
        made.run("import convai_lab as lab; ws = lab.connect(); ws.status()")
        made.run("%lab --platform local")
        yield made
    finally:
        InteractiveShell.clear_instance()
        if before is None:
            os.environ.pop(settings.HOME_VARIABLE, None)
        else:
            os.environ[settings.HOME_VARIABLE] = before


class FakeMediaLine:
    """Keeps what the page sent."""

    def __init__(self) -> None:
        self.kind = ""
        self.chosen: list[str] = []
        self.signals: list[Any] = []
        self.frames: list[tuple[bytes, int]] = []
        self.clips: list[tuple[bytes, str]] = []
        self.posted: list[Any] = []

    def choose(self, kind: str) -> None:
        self.kind = kind
        self.chosen.append(kind)

    def signal(self, message: Any) -> None:
        self.signals.append(message)

    def sound_takes(self, to_agent_ms: float | None, to_user_ms: float | None, **details: Any) -> None:
        from convai_lab.workspace.media_line import MediaLine

        MediaLine(self).sound_takes(to_agent_ms, to_user_ms, **details)  # type: ignore[arg-type]

    def post(self, frame: Any) -> None:
        self.posted.append(frame)

    def push(self, pcm: bytes, rate_hz: int = 16000) -> None:
        self.frames.append((pcm, rate_hz))

    def push_clip(self, data: bytes, mime: str) -> None:
        self.clips.append((data, mime))


class FakeLiveSession:
    """A live session without a platform: the test says what happens, as the background thread would."""

    def __init__(self, agent: Agent, *turns: Turn) -> None:
        self.agent, self.media, self.platform = agent, FakeMediaLine(), "local"
        self.engines = EngineNames(llm="offline", asr="pocketsphinx", tts="espeak-ng")
        self.conversation_id, self.state, self.end_reason = "conv_1", "connecting", None
        self.conversation = Conversation(
            id="conv_1", agent_id="agent_1", agent_name=agent.name, channel="voice", status="in-progress", turns=turns
        )
        self.said: list[str] = []
        self.mutes: list[bool] = []
        self.ends = 0
        self.agents: list[Agent] = []
        self._callbacks: list[Callable[[Any], object]] = []
        self._record: asyncio.Future[Conversation] | None = None

    @property
    def listeners(self) -> int:
        return len(self._callbacks)

    def say(self, text: str) -> None:
        self.said.append(text)

    def mute(self, on: bool = True) -> None:
        self.mutes.append(on)

    def end(self) -> None:
        self.ends += 1

    def use_agent(self, agent: Agent) -> None:
        self.agents.append(agent)

    def subscribe(self, callback: Callable[[Any], object]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    async def ended(self) -> Conversation:
        return self.conversation

    def happens(self, *events: Any, **changes: Any) -> None:
        """Let something happen, on the background thread, and wait until the panel has dealt with it."""

        async def tell() -> None:
            for name, value in changes.items():
                setattr(self, name, value)
            for event in events:
                for callback in list(self._callbacks):
                    callback(event)
            for _ in range(5):
                await asyncio.sleep(0)

        background.run(tell())


class RecordingComm(BaseComm):
    """A widget's line to a page that keeps what was sent; `page_says` is the page."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[tuple[Any, list[bytes]]] = []
        super().__init__(*args, **options)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        if data and data.get("method") == "custom":
            self.sent.append((data["content"], [bytes(buffer) for buffer in buffers or []]))

    def page_says(self, content: Any, *buffers: bytes) -> None:
        """Give the widget a custom message."""
        data = {"method": "custom", "content": content}
        self.handle_msg({"content": {"data": data}, "buffers": list(buffers), "msg_type": "comm_msg"})


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Widgets made in the test talk to `widget.comm.sent`, and hear `widget.comm.page_says(...)`."""
    import comm

    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    yield
    from ipywidgets import Widget

    Widget.close_all()


@pytest.fixture
def live_session() -> Callable[..., FakeLiveSession]:
    return FakeLiveSession
