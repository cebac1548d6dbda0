"""`%talk` in a shell: files are said, the transcript grows, a player follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from convai_lab.agents.agent import Agent
from convai_lab.conversations.turn import Turn
from convai_lab.notebook.agent_magic import run_agent
from convai_lab.notebook.arguments import Arguments
from convai_lab.notebook.bench import Bench
from convai_lab.notebook.panel_cells import open_panel
from convai_lab.notebook.talk_magic import run_talk
from convai_lab.providers.stub_speech import StubTTS
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import write_wav
from convai_lab.workspace.live_events import StateChanged


@pytest.fixture
def platform(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubPlatform]:
    with stub_platform(lambda _: "It ships tomorrow.") as made:
        monkeypatch.setenv("STUB_KEY", made.key)
        made.workspace.agents.save(Agent(name="shop", first_message="Hi {{name}}."))
        notebook.must(f"%lab --platform {made.url} --api-key-variable STUB_KEY")
        yield made
        notebook.must("%lab --platform local")


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "where is it.wav"
    write_wav(path, Sound(StubTTS(rate_hz=16000, words_a_minute=300).render("where is it")[0], 16000))
    return path


def test_a_file_is_said_and_both_sides_can_be_heard_again(
    notebook: Any, platform: StubPlatform, question: Path, tmp_path: Path
) -> None:
    out = tmp_path / "call.wav"
    conversation = notebook.must(f'%talk shop --audio "{question}" --var name=Ada --save call --out "{out}"')
    assert [turn.text for turn in conversation] == ["Hi Ada.", "where is it", "It ships tomorrow."]
    assert notebook.shell.user_ns["call"] is conversation
    assert "It ships tomorrow." in notebook.stdout
    assert "<audio controls" in notebook.html
    assert "<script" not in notebook.html
    assert out.stat().st_size > 100_000
    shown = notebook.must("call.audio.turn(1)")
    assert "ConversationAudio" in repr(shown)


def test_a_sound_of_the_notebook_can_be_said(notebook: Any, platform: StubPlatform, question: Path) -> None:
    notebook.must(f"from convai_lab import read_wav; asked = read_wav({str(question)!r})")
    conversation = notebook.must("%talk shop --audio {asked} --var name=Ada")
    assert conversation.turns[1].text == "where is it"


def test_in_a_terminal_one_sentence_says_what_to_do(notebook: Any, platform: StubPlatform) -> None:
    line = notebook.fails("%talk shop")
    assert "the voice panel needs a notebook" in line
    assert "%talk shop --audio FILE" in line
    assert "--window" in line


def test_out_without_audio_is_refused_in_words(notebook: Any, platform: StubPlatform) -> None:
    assert "--out is for --audio" in notebook.fails("%talk shop --out call.wav")


@dataclass
class PretendWorkspace:
    """The agents of a real platform, and sessions that the test conducts."""

    agents: Any
    session: Callable[..., Any]
    platform: str = "local"
    sessions: list[Any] = field(default_factory=list)

    def start_session(self, agent: Agent, *, voice: bool, variables: dict[str, Any] | None) -> Any:
        assert voice
        self.sessions.append(self.session(agent))
        return self.sessions[-1]

    def window_url(self, agent: Agent, *, variables: dict[str, Any] | None) -> str:
        return f"http://127.0.0.1:8300/talk/{agent.name}?token=once"


class BenchOn(Bench):
    """A bench on a pretended workspace."""

    def __init__(self, shell: Any, workspace: PretendWorkspace) -> None:
        super().__init__(shell)
        self.given = workspace

    @property
    def workspace(self) -> Any:
        return self.given


@pytest.fixture
def bench(page: None, notebook: Any, platform: StubPlatform, live_session: Callable[..., Any]) -> BenchOn:
    return BenchOn(notebook.shell, PretendWorkspace(platform.workspace.agents, live_session))


def test_running_the_cell_again_ends_its_session_and_starts_another(bench: BenchOn) -> None:
    agent = bench.workspace.agents.get("shop")
    first = open_panel(bench, agent)
    second = open_panel(bench, agent)
    assert first is not second
    assert (first.ends, second.ends) == (1, 0)
    assert (first.listeners, second.listeners) == (0, 1)


def test_the_conversation_is_kept_in_a_variable_from_the_start_and_as_stored_at_the_end(bench: BenchOn) -> None:
    session: Any = open_panel(bench, bench.workspace.agents.get("shop"), save="call")
    assert bench.shell.user_ns["call"] is session.conversation
    stored = session.conversation.with_changes(status="done", turns=(Turn(role="user", text="hi"),))
    session.happens(StateChanged("ended", "you ended the session"), state="ended", conversation=stored)
    assert bench.shell.user_ns["call"] is stored
    assert bench.current is stored


def test_a_live_change_reaches_running_sessions_of_that_agent_only(bench: BenchOn, platform: StubPlatform) -> None:
    platform.workspace.agents.save(Agent(name="desk"))
    running: Any = open_panel(bench, bench.workspace.agents.get("shop"))
    other: Any = open_panel(bench, bench.workspace.agents.get("desk"))
    changed = run_agent(bench, Arguments(name="shop", values={"temperature": 0.9, "live": True}), None)
    assert [agent.temperature for agent in running.agents] == [0.9]
    assert running.agents == [changed]
    assert other.agents == []
    run_agent(bench, Arguments(name="shop", values={"temperature": 0.5}), None)
    assert len(running.agents) == 1, "without --live a session keeps its version"


def test_a_live_change_without_a_session_changes_nothing_and_says_so(notebook: Any, platform: StubPlatform) -> None:
    before = platform.workspace.agents.get("shop").version
    assert "no voice session with shop is running" in notebook.fails("%agent shop --temperature 0.7 --live")
    assert "no voice session with nobody is running" in notebook.fails("%agent nobody --live")
    assert platform.workspace.agents.get("shop").version == before


def test_a_link_to_a_window_is_shown_once_and_returned(bench: BenchOn) -> None:
    with capture_output() as shown:
        link = run_talk(bench, Arguments(name="shop", values={"window": True}), None)
        bench.shell.display_formatter.format(link)  # as the last line of a cell
    assert repr(link) == "http://127.0.0.1:8300/talk/shop?token=once"
    [output] = shown.outputs
    assert 'href="http://127.0.0.1:8300/talk/shop?token=once"' in output.data["text/html"]


def test_wrong_files_are_one_sentence(notebook: Any, platform: StubPlatform, question: Path) -> None:
    assert "nowhere.wav" in notebook.fails("%talk shop --audio nowhere.wav --var name=Ada")
    assert "name it call.wav" in notebook.fails(f'%talk shop --audio "{question}" --var name=Ada --out call.mp3')
    assert "name" in notebook.fails(f'%talk shop --audio "{question}"')
