"""Live sessions on a real platform process: nothing is left of them, and its death is told in words."""

from __future__ import annotations

import asyncio
import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab import background, settings
from convai_lab.agents.agent import Agent
from convai_lab.testing.fake_page import FakePage
from convai_lab.testing.live_watcher import LiveWatcher
from convai_lab.workspace import live_events as live
from convai_lab.workspace.local_process import LocalProcess
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.workspace import Workspace

pytest.importorskip("aiortc", reason="needs aiortc: pip install 'convai-lab[voice]'")
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what a process holds in /proc")

HELLO = "Hello there."
SESSIONS = 10
POOLED = 3
"""So many threads and files for everybody may come late; one that each session left would be `SESSIONS` more."""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalProcess]:
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path))
    process = LocalProcess(tmp_path)
    yield process
    process.close()


@pytest.fixture
def local(process: LocalProcess) -> Workspace:
    return Workspace(Transport(process))


def greeter(local: Workspace) -> Agent:
    """An agent that says hello."""
    return local.agents.save(Agent(name="support", first_message=HELLO)).agent


def held(pid: int | str) -> dict[str, int]:
    """Count what a process holds: threads, and open files with its sockets."""
    return {"threads": len(os.listdir(f"/proc/{pid}/task")), "files": len(os.listdir(f"/proc/{pid}/fd"))}


def tasks_here() -> int:
    async def count() -> int:
        return len(asyncio.all_tasks())

    return background.run(count())


def tasks_there(local: Workspace) -> int:
    status: dict[str, Any] = background.run(local._transport.document("GET", "/v1/local/status"))
    return int(status["tasks"])


def talk(local: Workspace, agent: Agent) -> None:
    """Hold a session over WebRTC until the agent has greeted, and leave."""
    watcher = LiveWatcher()
    session = local.start_session(agent, voice=True, on_event=watcher.watch)
    with FakePage(session.media.signal) as page:
        session.subscribe(lambda event: page.signal(event.message) if isinstance(event, live.Signal) else None)
        session.media.choose("webrtc")
        watcher.wait_for(live.MediaChanged, lambda event: event.is_connected)
        watcher.wait_for(live.StateChanged, lambda event: event.state == "speaking")
        session.end()
        assert session.wait(20).turns[0].text == HELLO


def settled(count: Callable[[], tuple[int, ...]], limit: tuple[int, ...]) -> bool:
    """Say whether counts are no more than their limits, after a while at the latest."""
    deadline = time.monotonic() + 5
    while not (is_settled := all(map(operator.le, count(), limit))) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.1)
    return is_settled


def test_ten_sessions_leave_no_thread_task_file_or_socket_behind(local: Workspace, process: LocalProcess) -> None:
    agent = greeter(local)
    for _ in range(3):  # whatever is kept for the next one is there now
        talk(local, agent)
    gc.collect()
    time.sleep(0.5)
    pid = process.pid
    assert pid is not None
    here, there = held("self"), held(pid)
    tasks = (tasks_here(), tasks_there(local))
    for _ in range(SESSIONS):
        talk(local, agent)

    def is_no_more(now: dict[str, int], before: dict[str, int]) -> bool:
        return all(now[name] <= before[name] + POOLED for name in before)

    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and not (is_no_more(held("self"), here) and is_no_more(held(pid), there)):
        gc.collect()
        time.sleep(0.1)
    assert is_no_more(held("self"), here), (held("self"), here, [one.name for one in threading.enumerate()])
    assert is_no_more(held(pid), there), (held(pid), there)
    assert settled(lambda: (tasks_here(), tasks_there(local)), tasks), (tasks_here(), tasks_there(local), tasks)
    assert background.run(local._transport.document("GET", "/v1/local/status"))["open_conversations"] == 0


def test_a_platform_that_dies_ends_the_session_in_words_and_its_turns_are_kept(
    local: Workspace, process: LocalProcess
) -> None:
    watcher = LiveWatcher()
    session = local.start_session(greeter(local), voice=True, on_event=watcher.watch)
    session.media.choose("comm")
    watcher.wait_for(live.StateChanged, lambda event: event.state == "listening")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    record = session.wait(30)
    assert session.state == "ended"
    assert "the platform process is gone" in str(session.end_reason)
    assert [turn.text for turn in record] == [HELLO]
    assert record.status in ("failed", "done")
    session.media.push(bytes(640))
    again = local.start_session(session.agent, voice=True)
    again.media.choose("comm")
    again.end()
    assert again.wait(20).id != record.id


LEAVES = """
import sys
from convai_lab.agents.agent import Agent
from convai_lab.testing.live_watcher import LiveWatcher
from convai_lab.workspace import live_events as live
from convai_lab.workspace.connect import connect

ws, watcher = connect(), LiveWatcher()
agent = ws.agents.save(Agent(name="support", first_message="Hello there.")).agent
session = ws.start_session(agent, voice=True, on_event=watcher.watch)
session.media.choose("comm")
watcher.wait_for(live.StateChanged, lambda event: event.state == "speaking")
print(ws.status().pid, session.conversation_id)
"""


def test_a_kernel_that_exits_takes_its_platform_along_and_the_conversation_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path))
    done = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=60, check=True)
    pid, conversation_id = done.stdout.split()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    process = LocalProcess(tmp_path)
    try:
        kept = Workspace(Transport(process)).conversations.get(conversation_id)
    finally:
        process.close()
    assert [turn.text for turn in kept] == [HELLO]
    assert kept.status in ("done", "failed")
    assert done.stderr == ""


def test_a_model_without_its_key_ends_the_session_in_words(local: Workspace) -> None:
    agent = local.agents.create(Agent(name="keyless", llm="gpt-4o-mini"))
    session = local.start_session(agent, voice=True)
    session.wait(20)
    assert "OPENAI_API_KEY" in str(session.end_reason)
