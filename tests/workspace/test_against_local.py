"""The whole path with the real platform process: from nothing to a stored conversation, and through every death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab import settings
from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.errors import MissingKeyError, MissingVariableError
from convai_lab.workspace.connect import connect
from convai_lab.workspace.local_process import LocalProcess, local_process
from convai_lab.workspace.running_platform import running_platform
from convai_lab.workspace.session import AgentText, AgentTurn, Started, ToolAnswered, ToolCalled, UserTurn
from convai_lab.workspace.transport import Transport
from convai_lab.workspace.workspace import Workspace

SUPPORT = "You are Sam, a calm support agent of a shop for bicycles."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def process(home: Path) -> Iterator[LocalProcess]:
    process = LocalProcess(home)
    yield process
    process.close()


@pytest.fixture
def local(process: LocalProcess, home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace on one real platform, shared by the tests of this file."""
    monkeypatch.setenv(settings.HOME_VARIABLE, str(home))
    return Workspace(Transport(process))


def order_tool() -> Any:
    @tool
    def order_status_for_real(order_id: str) -> dict[str, str]:
        """Look up an order by its number."""
        return {"status": "shipped", "eta": "tomorrow"}

    return order_status_for_real


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_platform_answers_within_two_seconds_of_first_use(local: Workspace, process: LocalProcess) -> None:
    started = time.perf_counter()
    status = local.status()
    print(f"first answer after {time.perf_counter() - started:.2f} s, started in {process.start_secs:.2f} s")
    assert status.pid == process.pid
    assert status.home == str(process.folder)
    assert process.start_secs is not None
    assert process.start_secs < 10, "ten times what it takes on a machine with nothing else to do"


def test_a_tool_is_called_in_a_conversation_that_is_recorded(local: Workspace) -> None:
    local.agents.save(
        Agent(name="Shop", prompt=SUPPORT, first_message="Hi {{name}}, how can I help?", tools=(order_tool(),))
    )
    events: list[Any] = []
    conversation = local.chat(
        "shop", ["Where is my order 1234?", "Thanks"], variables={"name": "Ada"}, on_event=events.append
    )
    assert [turn.role for turn in conversation] == ["agent", "user", "agent", "user", "agent"]
    assert conversation.turns[0].text == "Hi Ada, how can I help?"
    assert events[0] == Started(conversation.id)
    assert ToolCalled("order_status_for_real", {"order_id": "1234"}) in events
    assert [e.is_error for e in events if isinstance(e, ToolAnswered)] == [False]
    assert [e.text for e in events if isinstance(e, UserTurn)] == ["Where is my order 1234?", "Thanks"]
    said = [turn.text for turn in conversation if turn.role == "agent"]
    assert [e.text for e in events if isinstance(e, AgentTurn)] == said
    assert "".join(e.text for e in events if isinstance(e, AgentText)) == "".join(said)
    assert conversation.turns[2].tool_calls[0].name == "order_status_for_real"
    assert conversation.status == "done"
    assert conversation.turns[2].llm_served is not None
    assert local.conversations.get(conversation.id) == conversation


def test_a_conversation_goes_on_with_its_variables_and_is_taken_back(local: Workspace) -> None:
    local.agents.save(Agent(name="Greeter", prompt=SUPPORT, first_message="Hi {{name}}!"))
    first = local.chat("greeter", "Hello", variables={"name": "Ada"})
    longer = local.chat("greeter", "Do you sell bicycles?", continue_from=first)
    assert longer.id == first.id
    assert [turn.text for turn in longer][:3] == [turn.text for turn in first]
    assert len(longer) == 5
    assert len(local.undo(longer)) == 3
    assert [turn.text for turn in local.conversations.get(first)] == [turn.text for turn in first]
    assert len(local.chat("greeter", "And helmets?", continue_from=first.id)) == 5


def test_versions_are_kept_and_a_variable_that_is_gone_is_gone(local: Workspace) -> None:
    agent = local.agents.create(name="Versions", prompt="One", variables={"a": "1", "b": "2"})
    two = local.agents.update("versions", prompt="Two")
    three = local.agents.update(two.with_changes(variables={"b": "2"}))
    assert (agent.version, two.version, three.version) == (1, 2, 3)
    assert three.variables == {"b": "2"}
    assert [version.prompt for version in local.agents.history("VERSIONS")] == ["Two", "Two", "One"]
    saved = local.agents.save(three)
    assert saved.changes == []
    assert saved.agent.version == 3


def test_what_is_stored_comes_back_as_it_was(local: Workspace) -> None:
    agent = Agent(name="Equal", prompt=SUPPORT, llm="offline", voice="George", temperature=0.3, tools=(order_tool(),))
    assert local.agents.create(agent) == agent
    assert local.agents.save(agent).changes == []


def test_conversations_are_filtered_by_time_and_agent(local: Workspace) -> None:
    local.agents.save(Agent(name="Filters", prompt=SUPPORT))
    made = local.chat("filters", "Hello")
    assert [row.id for row in local.conversations.list(agent="filters", since="1h")] == [made.id]
    assert len(local.conversations.list(agent="filters", since=time.time() + 60)) == 0
    assert len(local.conversations.list(agent="filters", until="1h")) == 0
    assert [c.id for c in local.conversations.documents(agent="filters", since="7d")] == [made.id]
    assert next(iter(local.conversations.list(agent="filters"))).turns == made.turns


def test_a_missing_variable_and_a_missing_key_are_said_by_name(local: Workspace) -> None:
    local.agents.save(Agent(name="Needs", prompt="You talk to {{customer}}."))
    with pytest.raises(MissingVariableError) as raised:
        local.chat("needs", "Hello")
    assert raised.value.names == ("customer",)
    local.agents.save(Agent(name="Paid", prompt=SUPPORT, llm="gpt-4o-mini"))
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        local.chat("paid", "Hello")


def test_a_key_set_later_reaches_the_platform_and_one_taken_away_leaves_it(
    local: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local.status().keys["OPENAI_API_KEY"] is False
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890abcdef")
    assert local.status().keys["OPENAI_API_KEY"] is True
    monkeypatch.delenv("OPENAI_API_KEY")
    assert local.status().keys["OPENAI_API_KEY"] is False


def test_a_session_and_awaited_chats_work_too(local: Workspace) -> None:
    local.agents.save(Agent(name="Session", prompt=SUPPORT))
    with local.start_session("session") as session:
        assert session.say("Hello")
        session.context("the user is in a hurry")
        assert session.say("Do you sell bicycles?")
    assert session.conversation.status == "done"

    async def many() -> list[Any]:
        return await asyncio.gather(*(local.achat("session", "Hello") for _ in range(5)))

    assert len({conversation.id for conversation in asyncio.run(many())}) == 5


def test_a_platform_that_is_killed_is_started_again_and_nothing_is_lost(
    local: Workspace, process: LocalProcess
) -> None:
    local.agents.save(Agent(name="Survivor", prompt=SUPPORT))
    before = local.chat("survivor", "Hello")
    starts = process.starts
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert local.conversations.get(before.id) == before
    assert process.starts == starts + 1
    os.kill(process.pid or 0, signal.SIGKILL)
    after = local.chat("survivor", "And now?", continue_from=before)
    assert after.turns[: len(before)] == before.turns
    assert process.starts == starts + 2


def test_an_interrupted_chat_is_kept(local: Workspace) -> None:
    local.agents.save(Agent(name="Interrupted", prompt=SUPPORT))

    def stop(event: Any) -> None:
        if isinstance(event, AgentText):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        local.chat("interrupted", "Hello", on_event=stop)
    kept = raised.value.conversation  # type: ignore[attr-defined]
    assert kept.turns[0].text == "Hello"
    assert kept.status != "in-progress"


def test_the_command_line_finds_the_platform_that_runs(local: Workspace, process: LocalProcess) -> None:
    status = local.status()
    found = running_platform()
    assert found is not None
    assert found[0] == status.url
    assert connect(found[0]).status().pid == process.pid


def run_script(code: str, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, settings.HOME_VARIABLE: str(home)}
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", code]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


SCRIPT = """
import convai_lab as lab
ws = lab.connect()
ws.agents.save(lab.Agent(name="Script", prompt="You are Sam."))
print(ws.chat("script", "Hello").turns[-1].role, ws.status().pid, flush=True)
"""


def test_a_script_ends_cleanly_and_takes_its_platform_along(tmp_path: Path) -> None:
    script = run_script(SCRIPT, tmp_path)
    out, err = script.communicate(timeout=60)
    assert script.returncode == 0
    assert err == ""
    role, pid = out.split()
    assert role == "agent"
    assert not is_there(int(pid))


FORKING = """
import os, sys
import convai_lab as lab
ws = lab.connect()
ws.agents.save(lab.Agent(name="Script", prompt="You are Sam."))
ours = ws.status().pid
child = os.fork()
if child == 0:
    print(ws.chat("script", "Hello from the child").turns[-1].role, ws.status().pid != ours, flush=True)
    os._exit(0)  # as multiprocessing does
os.waitpid(child, 0)
print(ws.chat("script", "Hello again").turns[-1].role, ws.status().pid == ours)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_platform_and_the_parent_keeps_its_own(tmp_path: Path) -> None:
    out, err = run_script(FORKING, tmp_path).communicate(timeout=60)
    assert err == ""
    assert out.split() == ["agent", "True", "agent", "True"]


def test_a_platform_goes_away_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = run_script(f"{SCRIPT}\nimport sys; sys.stdin.read()", tmp_path)
    assert script.stdout is not None
    pid = int(script.stdout.readline().split()[1])
    assert is_there(pid)
    script.kill()
    script.wait()
    watch = subprocess.run(
        ["/bin/sh", "-c", f"i=0; while kill -0 {pid} 2>/dev/null && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done"],
        check=False,
    )
    assert watch.returncode == 0
    assert not is_there(pid)
    script.communicate()


def test_the_registered_process_is_the_one_of_the_current_folder() -> None:
    assert local_process().folder == settings.home().absolute()
