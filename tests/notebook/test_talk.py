"""`%talk` in a shell: files are said, the transcript grows, a player follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.providers.stub_speech import StubTTS
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import write_wav


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


def test_without_a_file_one_sentence_says_what_to_do(notebook: Any) -> None:
    line = notebook.fails("%talk shop")
    assert "microphone panel is not here yet" in line
    assert "%talk shop --audio FILE" in line


def test_wrong_files_are_one_sentence(notebook: Any, platform: StubPlatform, question: Path) -> None:
    assert "nowhere.wav" in notebook.fails("%talk shop --audio nowhere.wav --var name=Ada")
    assert "name it call.wav" in notebook.fails(f'%talk shop --audio "{question}" --var name=Ada --out call.mp3')
    assert "name" in notebook.fails(f'%talk shop --audio "{question}"')
