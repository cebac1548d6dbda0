"""A recording keeps both sides in their place, survives its process, and never stops a call."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.agents.agent import Agent
from convai_lab.errors import InvalidValueError
from convai_lab.providers.stub_speech import StubASR, stub_engines
from convai_lab.testing.callers import barge_in, hold_call
from convai_lab.voice.audio import noise, read_wav, rms_dbfs, silence, tone
from convai_lab.voice.recording import Recording, slice_recording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audio" / "conv.wav"


def channels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        frames = file.readframes(file.getnframes())
    both = np.frombuffer(frames, "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def of(pcm: bytes) -> list[int]:
    return np.frombuffer(pcm, "<i2").tolist()


def level(value: int, count: int) -> bytes:
    return np.full(count, value, "<i2").tobytes()


def test_each_side_is_on_its_own_channel_in_its_place(path: Path) -> None:
    recording = Recording(path)
    said = noise(2, dbfs=-20, seed=1)
    for at in range(0, len(said), 640):
        recording.user(said[at : at + 640])
        if at == 6400:
            recording.agent(level(7, 1600), 4000)
    recording.stop()
    user, agent = channels(path)
    assert user.tolist() == of(said)
    assert agent.tolist() == [0] * 4000 + [7] * 1600 + [0] * (32000 - 5600)
    assert (recording.secs, recording.problem, recording.is_truncated) == (2.0, None, False)


def test_what_was_not_heard_is_taken_back(path: Path) -> None:
    recording = Recording(path)
    for frame in range(150):
        recording.user(level(1, 320))
        if frame == 9:
            recording.agent(level(5, 16000), 3200)
            recording.agent(level(5, 16000))
        if frame == 49:
            recording.cut_agent(16000)
            recording.agent(level(9, 320), 17000)
    recording.stop()
    _, agent = channels(path)
    assert agent.tolist() == [0] * 3200 + [5] * 12800 + [0] * 1000 + [9] * 320 + [0] * (48000 - 17320)


def test_what_was_written_before_it_turned_out_unheard_is_taken_back_too(path: Path) -> None:
    recording = Recording(path)
    recording.agent(level(5, 48000), 0)
    recording.user(level(1, 32000))
    recording.cut_agent(8000)
    recording.stop()
    user, agent = channels(path)
    assert agent.tolist() == [5] * 8000 + [0] * 24000
    assert set(user.tolist()) == {1}


def test_late_early_and_repeated_audio_finds_its_place(path: Path) -> None:
    recording = Recording(path)
    recording.user(level(1, 1000), 0)
    recording.user(level(2, 1000), 60_000)
    recording.user(level(3, 1000), 30_000)
    recording.user(level(4, 500), 30_500)
    recording.agent(level(5, 1000), 100)
    recording.stop()
    user, agent = channels(path)
    expected = np.zeros(61_000, int)
    expected[:1000], expected[60_000:], expected[30_000:30_500], expected[30_500:31_000] = 1, 2, 3, 4
    assert user.tolist() == expected.tolist()
    assert (agent[100:1100].tolist(), int(abs(agent[1100:]).max())) == ([5] * 1000, 0)


def test_what_came_before_the_session_began_is_left_out(path: Path) -> None:
    recording = Recording(path)
    recording.user(level(1, 100), -40)
    recording.cut_agent(-5)
    recording.stop()
    assert channels(path)[0].tolist() == [1] * 60


@pytest.mark.parametrize("chunk", [1, 3, 639, 5_000_000])
def test_bursts_and_odd_chunks_are_no_trouble(path: Path, chunk: int) -> None:
    recording, said = Recording(path), noise(0.3, dbfs=-20, seed=2)
    for at in range(0, len(said), chunk):
        recording.user(said[at : at + chunk])
    recording.stop()
    whole = chunk // 2 * 2
    kept = b"".join(said[at : at + whole] for at in range(0, len(said), chunk)) if chunk < len(said) else said
    assert channels(path)[0].tolist() == of(kept[: len(kept) // 2 * 2])


def test_five_megabytes_at_once_are_recorded(path: Path) -> None:
    said = noise(157, dbfs=-20, seed=2)
    recording = Recording(path)
    recording.user(said)
    recording.stop()
    assert channels(path)[0].tolist() == of(said)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("with_places", [True, False])
def test_a_voice_at_another_rate_is_where_it_was_said(path: Path, rate_hz: int, with_places: bool) -> None:
    recording, voice = Recording(path), tone(440, 1, rate_hz)
    frame = rate_hz // 50 * 2
    recording.user(level(0, 8000))
    for number, at in enumerate(range(0, len(voice), frame)):
        recording.agent(voice[at : at + frame], 8000 + 320 * number if with_places else None, rate_hz=rate_hz)
        recording.user(level(0, 320))
    recording.stop()
    wanted, (_, agent) = np.array(of(tone(440, 1))), channels(path)
    assert abs(agent[:7900]).max() == 0
    assert np.std(agent[8200 : 8000 + 15800] - wanted[200:15800]) < 60
    assert len(agent) == pytest.approx(24000, abs=8)


def test_the_user_may_be_recorded_at_another_rate(path: Path) -> None:
    recording = Recording(path, rate_hz=24000)
    said = tone(440, 1)
    for number in range(50):
        recording.user(said[640 * number : 640 * (number + 1)], 480 * number)
    recording.stop()
    user, _ = channels(path)
    assert np.std(user[200:23800] - np.array(of(tone(440, 1, 24000)))[200:23800]) < 60


def test_the_header_is_right_at_any_moment(path: Path) -> None:
    recording = Recording(path)
    assert len(channels(path)[0]) == 0
    for number in range(100):
        recording.user(level(number, 320))
        written = len(channels(path)[0])
        assert 320 * (number + 1) - written <= 0.32 * 16000
    recording.stop()
    assert len(channels(path)[0]) == 32000


def test_a_process_that_is_killed_leaves_a_file_that_plays(path: Path) -> None:
    code = (
        "import sys, time\n"
        "from convai_lab.voice.recording import Recording\n"
        "from convai_lab.voice.audio import tone\n"
        f"recording = Recording({str(path)!r})\n"
        "for n in range(10**9):\n"
        "    recording.user(tone(440, 0.02))\n"
        "    recording.agent(tone(880, 0.02), 320 * n)\n"
        "    if n == 200: print('going', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    user, agent = channels(path)
    assert len(user) >= 180 * 320
    assert len(user) == len(agent)
    assert rms_dbfs(user.tobytes()) == pytest.approx(-12, abs=0.1)
    assert rms_dbfs(agent[: 180 * 320].tobytes()) == pytest.approx(-12, abs=0.1)
    assert read_wav(path).secs == len(user) / 16000


def test_time_passes_also_when_nobody_speaks(path: Path) -> None:
    recording = Recording(path)
    recording.advance(16000)
    recording.advance(8000)
    recording.stop()
    assert (channels(path)[0].size, recording.secs) == (16000, 1.0)


def test_the_end_of_the_session_cuts_what_was_still_to_be_said(path: Path) -> None:
    recording = Recording(path)
    recording.user(level(1, 16000))
    recording.agent(level(2, 160_000), 8000)
    recording.stop(20_000)
    user, agent = channels(path)
    assert (user.size, agent[8000:].tolist()) == (20_000, [2] * 12_000)


def test_without_an_end_all_that_was_said_is_kept(path: Path) -> None:
    recording = Recording(path)
    recording.agent(level(2, 40_000))
    recording.stop()
    assert channels(path)[1].tolist() == [2] * 40_000


def test_what_comes_after_the_end_changes_nothing(path: Path) -> None:
    recording = Recording(path)
    recording.user(level(1, 320))
    recording.stop()
    before = path.read_bytes()
    recording.user(level(1, 320))
    recording.agent(level(1, 320))
    recording.cut_agent(0)
    recording.advance(10**9)
    recording.stop()
    assert path.read_bytes() == before


def test_a_recording_has_a_longest_length_and_says_when_it_was_reached(path: Path) -> None:
    recording = Recording(path, max_secs=1)
    recording.user(level(1, 15_000))
    assert not recording.is_truncated
    recording.agent(level(2, 320), 10**12)
    recording.user(level(1, 32_000))
    recording.user(level(1, 32_000))
    recording.stop(10**12)
    assert recording.is_truncated
    assert channels(path)[0].tolist() == [1] * 16_000


@pytest.mark.parametrize("limits", [{"max_secs": 0}, {"max_secs": 1e9}, {"rate_hz": 5}, {"max_secs": float("nan")}])
def test_limits_that_make_no_sense_are_refused_in_words(path: Path, limits: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match=r"max_secs: from 0|rate_hz: a whole number"):
        Recording(path, **limits)  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_told_and_the_call_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    recording = Recording(tmp_path / "file" / "conv.wav")
    recording.user(level(1, 32000))
    recording.stop()
    assert "stopped" in (recording.problem or "")
    assert str(tmp_path) in (recording.problem or "")


def test_a_full_disk_ends_the_recording_and_not_the_call() -> None:
    recording = Recording("/dev/full")
    recording.user(level(1, 32000))
    recording.agent(level(1, 32000))
    recording.stop()
    assert "No space left" in (recording.problem or "")


def test_only_the_user_of_the_machine_may_read_it(path: Path) -> None:
    Recording(path).stop()
    assert path.stat().st_mode & 0o077 == 0


def test_parts_can_be_cut_out(path: Path) -> None:
    recording = Recording(path)
    recording.user(level(100, 16000))
    recording.agent(level(30, 8000), 8000)
    recording.stop()
    assert of(slice_recording(path, 0.25, 0.5, "user").pcm) == [100] * 4000
    assert of(slice_recording(path, 0.25, 0.75, "agent").pcm) == [0] * 4000 + [30] * 4000
    assert of(slice_recording(path, 0.25, 0.75).pcm) == [100] * 4000 + [130] * 4000
    assert slice_recording(path, 0.9, 70).secs == pytest.approx(0.1)
    assert slice_recording(path, 70, 80).pcm == b""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((2, 1), "no part"),
        ((-1, 1), "no part"),
        ((0, float("nan")), "no part"),
        ((0, 1, "left"), "user, agent or both"),
    ],
)
def test_parts_that_make_no_sense_are_refused_in_words(path: Path, args: tuple[float, float], words: str) -> None:
    Recording(path).stop()
    with pytest.raises(InvalidValueError, match=words):
        slice_recording(path, *args)


def test_what_is_no_recording_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    for name, words in (("a.wav", "is no recording"), ("none.wav", "cannot be read")):
        with pytest.raises(InvalidValueError, match=words):
            slice_recording(tmp_path / name, 0, 1)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("user"), st.integers(-50, 9000), st.integers(0, 4000)),
        st.tuples(st.just("agent"), st.integers(-50, 20000), st.integers(0, 4000)),
        st.tuples(st.just("cut"), st.integers(-50, 20000), st.just(0)),
        st.tuples(st.just("advance"), st.integers(0, 20000), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(actions)
def test_any_order_of_events_gives_the_two_tracks_that_were_heard(tmp_path_factory, steps) -> None:
    path = tmp_path_factory.mktemp("r") / "a.wav"
    recording, limit = Recording(path, max_secs=1), 16000
    tracks, end = {"user": np.zeros(limit, int), "agent": np.zeros(limit, int)}, {"user": 0, "agent": 0, "now": 0}
    for number, (kind, at, count) in enumerate(steps, start=1):
        if kind == "cut":
            recording.cut_agent(at)
            tracks["agent"][max(0, at) :] = 0
            end["agent"] = min(end["agent"], max(0, at))
        elif kind == "advance":
            recording.advance(at)
            end["now"] = max(end["now"], min(at, limit))
        else:
            getattr(recording, kind)(level(number, count), at)
            tracks[kind][max(0, at) : max(0, at + count)] = number
            if min(at + count, limit) > max(0, at):
                end[kind] = max(end[kind], min(at + count, limit))
    recording.stop()
    user, agent = channels(path)
    size = len(user)
    assert user.tolist() == tracks["user"][:size].tolist()
    assert agent.tolist() == tracks["agent"][:size].tolist()
    assert size >= max(end["user"], end["agent"], end["now"])


def test_silence_in_a_recording_is_silence(path: Path) -> None:
    recording = Recording(path)
    recording.user(silence(0.5))
    recording.stop()
    assert slice_recording(path, 0, 1).pcm == silence(0.5)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000])
def test_the_recording_of_a_call_says_what_its_transcript_says(path: Path, rate_hz: int) -> None:
    call = hold_call(
        Agent(first_message="Hello, how can I help?"),
        ["I would like a table please.", barge_in("Stop, never mind.", word=4), "Goodbye."],
        llm=["There is a table free tomorrow at noon by the window.", "As you like.", "Goodbye."],
        engines=lambda clock: stub_engines(clock, rate_hz=rate_hz, first_byte_secs=0.1, finish_secs=0.1),
        recording=Recording(path),
        output_rate_hz=rate_hz,
    )
    assert [turn.interrupted for turn in call.conversation].count(True) == 1
    for turn in call.conversation:
        assert turn.start_secs is not None
        assert turn.end_secs is not None
        side = slice_recording(path, max(0, turn.start_secs - 0.05), turn.end_secs + 0.05, turn.role)
        stream = StubASR().open(rate_hz=side.rate_hz)
        stream.feed(side.pcm)
        assert asyncio.run(stream.finish()).text == (turn.text if turn.text_heard is None else turn.text_heard)
