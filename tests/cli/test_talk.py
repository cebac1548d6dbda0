"""`convai talk`: a voice conversation in the terminal, from files."""

from __future__ import annotations

import io
import json
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from convai_lab.agents.agent import Agent
from convai_lab.cli.main import main
from convai_lab.providers.stub_speech import StubTTS
from convai_lab.testing.stub_platform import StubPlatform, stub_platform
from convai_lab.voice.recording import slice_recording
from convai_lab.voice.sound import Sound
from convai_lab.voice.wav import write_wav


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubPlatform]:
    with stub_platform(["It ships tomorrow.", "You are welcome."]) as made:
        monkeypatch.setenv("CONVAI_API_KEY", made.key)
        made.workspace.agents.save(Agent(name="support", first_message="Hi {{name}}."))
        yield made


def say(path: Path, text: str) -> str:
    write_wav(path, Sound(StubTTS(rate_hz=16000, words_a_minute=300).render(text)[0], 16000))
    return str(path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_it_prints_the_transcript_and_writes_both_sides(
    platform: StubPlatform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, out = say(tmp_path / "in.wav", "where is it"), tmp_path / "out.wav"
    code = run("talk", "support", "--audio", asked, "--out", str(out), "--var", "name=Ada", "--platform", platform.url)
    printed = capsys.readouterr()
    assert code == 0
    assert printed.err.splitlines()[1:] == [
        "agent: Hi Ada.",
        "user: where is it",
        "agent: It ships tomorrow.",
    ]
    assert "It ships tomorrow." in printed.out
    assert f"Both sides are in {out}" in printed.out
    assert slice_recording(out, 0, 100).secs > 3


def test_json_is_for_programs(platform: StubPlatform, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = say(tmp_path / "in.wav", "where is it")
    code = run("talk", "support", "--audio", asked, "--var", "name=Ada", "--platform", platform.url, "--json")
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (code, printed.err) == (0, "")
    assert (document["has_audio"], document["metadata"]["text_only"]) == (True, False)
    assert [turn["message"] for turn in document["transcript"]] == ["Hi Ada.", "where is it", "It ships tomorrow."]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "--audio FILE or --window"),
        (("--audio", "IN", "--window"), 2, "--audio FILE or --window"),
        (("--window", "--out", "call.wav"), 2, "--out goes with --audio"),
        (("--audio", "nowhere.wav"), 1, "nowhere.wav"),
        (("--audio", "IN", "--out", "call.mp3"), 1, "call.wav"),
        (("--audio", "IN", "--var", "name"), 1, "NAME=VALUE"),
        (("--audio", "IN"), 1, "name"),
    ],
)
def test_what_cannot_be_held_is_one_sentence(
    arguments: tuple[str, ...],
    code: int,
    why: str,
    platform: StubPlatform,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = say(tmp_path / "in.wav", "where is it")
    given = [asked if word == "IN" else word for word in arguments]
    assert run("talk", "support", *given, "--platform", platform.url) == code
    printed = capsys.readouterr().err
    assert why in printed
    assert "Traceback" not in printed


class Screen(io.StringIO):
    """Where a command on another thread prints: looking into `capsys` meanwhile loses what comes as one looks."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = threading.Condition()

    def write(self, text: str) -> int:
        with self._printed:
            size = super().write(text)
            self._printed.notify_all()
        return size

    def until(self, words: str) -> str:
        """Wait until these words were printed, and return all that was."""
        with self._printed:
            assert self._printed.wait_for(lambda: words in self.getvalue(), 20), self.getvalue()
        return self.getvalue()


def test_a_page_is_offered_and_what_was_said_there_is_printed(
    platform: StubPlatform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()
    arguments = ("talk", "support", "--window", "--var", "name=Ada", "--platform", platform.url)
    command = threading.Thread(target=lambda: codes.put(run(*arguments)))
    command.start()
    token = screen.until("Ctrl-C ends the session").partition("/window#")[2].split()[0]
    own = {"origin": platform.url}
    page_token = httpx.post(f"{platform.url}/window/open", json={"token": token}, headers=own).json()["token"]
    address = platform.url.replace("http", "ws", 1) + "/window/socket"
    with connect(address, additional_headers=own, max_queue=None) as page:  # else its goodbye may wait for 10 s
        page.send(json.dumps({"type": "window", "token": page_token}))
        page.send(json.dumps({"type": "user_message", "text": "where is it"}))
        while "It ships tomorrow." not in page.recv(timeout=20):
            pass
        page.send('{"type":"window_end"}')
        command.join(20)
    assert codes.get(timeout=1) == 0
    assert "It ships tomorrow." in capsys.readouterr().out
