"""What the panel's page measures and does by itself, in a time that the test lets pass."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import convai_lab

MEASURES = Path(convai_lab.__file__).parent / "notebook" / "panel_measures.js"
LOAD = "async code => { window.measures = await import(`data:text/javascript;base64,${code}`); }"
TIMING = """isQuiet => {
  window.level = 0;
  window.told = [];
  window.timing = new measures.Timing({
    agentMeter: () => ({ read: () => level, since: () => performance.now() }),
    ways: async () => ({ toAgent: 10, toUser: 20 }),
    out: () => 5,
    tell: (content) => { told.push(content); timing.clock.answered(content.number, performance.now() / 1000); },
    show: (delay) => { window.delay = delay; },
    isQuiet: () => isQuiet,
  });
}"""
READ_LATE = """async (secs) => {
  const context = new OfflineAudioContext(1, 48000, 48000);
  const voice = new OscillatorNode(context);
  const meter = new measures.Meter(context, voice);
  voice.start(0.4);
  let found = null;
  context.suspend(0.4 + secs).then(() => {
    found = [meter.read(), (performance.now() - meter.since(0.01)) / 1000];
    context.resume();
  });
  await context.startRendering();
  return found;
}"""
HUSH = """() => {
  window.loud = { agent: 0.5, user: 0 };
  window.volume = 1;
  window.hush = new measures.Hush((side) => loud[side], (volume) => { window.volume = volume; });
}"""
pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    page.clock.install(time=datetime(2026, 1, 1, tzinfo=UTC))
    page.clock.pause_at(datetime(2026, 1, 2, tzinfo=UTC))
    page.evaluate(LOAD, base64.b64encode(MEASURES.read_bytes()).decode())
    yield page
    context.close()


def test_in_a_notebook_the_kernel_is_left_alone_until_the_agent_is_heard(page: Any) -> None:
    page.evaluate(TIMING, True)
    page.clock.run_for(60_000)
    assert page.evaluate("told.length") == 3, "so many echoes tell the platform's clock well enough"
    assert page.evaluate("delay") == 35, "the figure in sight goes on"
    began = page.evaluate("level = 0.5, performance.now()") / 1000
    page.clock.run_for(5_000)
    assert page.evaluate("told.length") == 4
    told = page.evaluate("told.at(-1)")
    assert (told["to_agent_ms"], told["to_user_ms"], told["is_at_start"], told["number"]) == (10, 25, True, 4)
    assert 0 <= told["heard_at"] - began < 0.05, "by the platform's clock, the loudspeaker's delay included"


@pytest.mark.parametrize("secs", [0.02, 0.06, 0.15])
def test_when_a_voice_began_is_known_although_a_busy_page_looks_late(page: Any, secs: float) -> None:
    level, since = page.evaluate(READ_LATE, secs)
    assert since == pytest.approx(secs, abs=0.005)
    assert level > 0.9


def test_a_voice_too_soft_to_tell_its_first_instant_is_timed_within_a_second(page: Any) -> None:
    page.evaluate(TIMING, True)
    page.clock.run_for(10_000)
    page.evaluate("level = 0.2")
    page.clock.run_for(10_000)
    assert page.evaluate("told.map(({ is_at_start }) => is_at_start)") == [False] * 4


def test_where_nobody_sees_messages_sound_is_timed_every_second(page: Any) -> None:
    page.evaluate(TIMING, False)
    page.clock.run_for(10_000)
    assert page.evaluate("told.length") == 10


def test_the_agent_is_softer_while_a_voice_is_heard_and_loud_again_after_a_cough(page: Any) -> None:
    page.evaluate(HUSH)
    page.evaluate("loud.user = 0.8")
    page.clock.run_for(100)
    assert page.evaluate("volume") == 0.15
    page.evaluate("loud.user = 0")
    page.clock.run_for(500)
    assert page.evaluate("volume") == 1


def test_what_is_left_of_a_stopped_agent_is_silent_and_what_comes_after_a_gap_is_not(page: Any) -> None:
    page.evaluate(HUSH)
    page.clock.run_for(100)
    page.evaluate("hush.silence()")
    assert page.evaluate("volume") == 0
    page.evaluate("loud.agent = 0")
    page.clock.run_for(200)
    assert page.evaluate("volume") == 1


def test_a_voice_that_goes_on_makes_an_agent_softer_for_two_seconds_only(page: Any) -> None:
    page.evaluate(HUSH)
    page.evaluate("loud.user = 0.8")
    page.clock.run_for(1_000)
    assert page.evaluate("volume") == 0.15
    page.clock.run_for(2_000)
    assert page.evaluate("volume") == 1, "it may not want to be interrupted"
