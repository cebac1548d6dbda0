"""A person talks with an agent in a page of its own: a real Chromium, the offline engines, and no notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.tools import tool
from convai_lab.workspace.window import Window

EARS = (Path(__file__).parent / "window_ears.js").read_text(encoding="utf-8")
pytestmark = pytest.mark.browser

ORDER = "where is my order one two three four"
THANKS = "thank you"
ATTACK = "<script>window.hit=1</script><img src=x onerror='window.hit=2'><b id=bold>bold</b>"
PATIENCE_MS = 20_000
PLAYED_SECS = """audio => new Promise(done => audio.readyState ? done(audio.duration)
    : audio.addEventListener('loadedmetadata', () => done(audio.duration)))"""
LOUD = 0.01
FLUSH_SECS = 0.25


@tool
def order_status(order_id: str) -> dict[str, str]:
    "Look up an order by its number."
    print("looking up", order_id)
    return {"status": "shipped", "eta": "tomorrow"}


class WindowPage:
    """The page of one session, and somebody in front of it."""

    def __init__(self, context: Any, window: Window, voices: dict[str, str]) -> None:
        self.window, self._voices = window, voices
        self.console: list[str] = []
        self.page = context.new_page()
        self.page.add_init_script(EARS)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("console", lambda said: self.console.append(said.text) if said.type == "error" else None)
        self.page.goto(window.url)

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()

    def until(self, word: str) -> None:
        """Wait until the panel says this of its state."""
        self.page.locator(".convai-state", has_text=word).wait_for(timeout=PATIENCE_MS)

    def until_turns(self, role: str, many: int) -> None:
        self.page.locator(f".convai-turn.convai-{role}").nth(many - 1).wait_for(timeout=PATIENCE_MS)

    def begin(self) -> None:
        self.press("Start talking")
        self.until_turns("agent", 1)  # not "speaking": a busy machine may have said hello before it looks
        self.until("Listening")

    def say(self, words: str) -> float:
        """Say something into the page's microphone; returns when it ends."""
        return float(self.page.evaluate("wav => window.speak(wav)", self._voices[words]))

    def loud(self) -> list[float]:
        """Return when the page played something loud."""
        return [at for at, loudness in self.page.evaluate("window.heard") if loudness > LOUD]

    def text(self) -> str:
        return str(self.page.locator("main").inner_text())

    def turns(self) -> list[tuple[str, str]]:
        return [(turn.role, turn.text) for turn in self.window.session.conversation.turns]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local platform in a process of its own, as every notebook has one."""
    from convai_lab.workspace.local_process import LocalProcess
    from convai_lab.workspace.transport import Transport
    from convai_lab.workspace.workspace import Workspace

    process = LocalProcess(tmp_path_factory.mktemp("home"))
    yield Workspace(Transport(process))
    process.close()


@pytest.fixture
def open_page(browser: Any, workspace: Any, voices: dict[str, str]) -> Iterator[Callable[..., WindowPage]]:
    opened: list[tuple[Any, Window]] = []

    def open_one(*, permissions: tuple[str, ...] = ("microphone",), **agent: Any) -> WindowPage:
        phrases = {"expected_phrases": (ORDER, THANKS), "tools": [order_status]}
        given = {"name": "support", "prompt": "You are Sam, a calm support agent.", "first_message": "Hello."}
        made = workspace.agents.save(Agent(**{**given, **phrases, "llm": "offline", **agent})).agent
        window = workspace.open_window(made)
        context = browser.new_context(viewport={"width": 900, "height": 900})
        context.grant_permissions(list(permissions), origin=window.url.partition("/window")[0])
        opened.append((context, window))
        return WindowPage(context, window, voices)

    yield open_one
    for context, window in opened:
        context.close()
        window.session.end()


def test_an_order_spoken_into_the_microphone_is_answered_and_the_answer_is_heard(
    open_page: Callable[..., WindowPage],
) -> None:
    for _ in range(3):  # what a busy machine loses of the sound may cost the small recogniser a word
        talking = open_page()
        talking.begin()
        listening_at = talking.say(ORDER)
        talking.until_turns("agent", 2)
        talking.until("Listening")
        if talking.turns()[1] == ("user", ORDER):
            break
        talking.press("End")
    assert talking.turns()[:2] == [("agent", "Hello."), ("user", ORDER)]
    assert "tomorrow" in talking.turns()[2][1]
    assert len([at for at in talking.loud() if at > listening_at]) > 20, "half a second of the answer was heard"
    shown = talking.text()
    for fact in ("support@", "pocketsphinx", "through this page's websocket", "order_status: looking up 1234"):
        assert fact in shown
    assert "most of it" in shown
    assert "confidence" in shown
    assert talking.page.locator(".convai-tool").count() == 1
    talking.press("End")
    talking.until("Ended by you")
    assert talking.turns()[1][1] in talking.text(), "what was said stays"
    assert talking.window.session.conversation_id in talking.text()
    assert talking.page.get_by_role("button", name="Remove panel").count() == 0
    talking.press("Play")
    talking.page.locator("audio").wait_for()
    assert talking.page.locator("audio").evaluate(PLAYED_SECS) > 3
    record = talking.window.session.wait(10)
    assert record.status == "done"
    assert (record.turns[2].metrics.transport_ms or 0) > 0, "the page tells how long sound takes"
    assert "#" not in talking.page.url, "the token is in the address no more"
    assert talking.console == []


def test_who_interrupts_the_agent_silences_the_page_within_a_quarter_of_a_second(
    open_page: Callable[..., WindowPage],
) -> None:
    talking = open_page(first_message="Hello. " + "I have very much to tell you today, so listen to me. " * 6)
    talking.press("Start talking")
    talking.page.evaluate("window.isLoudFor(40)")
    talking.say(THANKS)
    talking.until_turns("user", 1)
    flushed_at = talking.page.evaluate("window.flushes[0]")
    answered_at = talking.page.evaluate("window.audioAfterFlush ?? Infinity")
    still_loud = [at for at in talking.loud() if flushed_at + FLUSH_SECS < at < answered_at]
    assert still_loud == []
    assert talking.page.locator(".convai-said del").first.inner_text()
    first = talking.window.session.conversation.turns[0]
    assert first.interrupted
    assert len(first.text_heard or "") < len(first.text)


def test_a_conversation_can_be_held_clip_by_clip_with_the_space_bar(open_page: Callable[..., WindowPage]) -> None:
    talking = open_page()
    talking.page.get_by_label("How the sound travels").select_option("push to talk")
    talking.begin()
    talking.page.locator(".convai-panel").focus()
    talking.page.keyboard.down(" ")
    talking.page.get_by_role("button", name="Release to send").hover()
    talking.page.mouse.move(1, 1)  # a pointer that passes over the button ends nothing that the space bar began
    talking.page.evaluate("ends => window.secondsPass(ends + 0.3)", talking.say(THANKS))
    talking.page.keyboard.up(" ")
    talking.until_turns("agent", 2)
    assert talking.turns()[1] == ("user", THANKS)
    assert "push to talk, one clip at a time" in talking.text()
    assert talking.console == []


def test_without_a_microphone_one_sentence_says_why_and_typing_is_answered_without_markup(
    open_page: Callable[..., WindowPage],
) -> None:
    talking = open_page(name=f"Sam {ATTACK}")
    talking.page.evaluate("window.refusal = 'NotAllowedError'")
    talking.press("Start talking")
    talking.page.locator(".convai-problem").wait_for()
    assert "The browser did not let this page use the microphone." in talking.text()
    talking.page.get_by_label("Type to the agent").fill(ATTACK)
    talking.page.keyboard.press("Enter")
    talking.until_turns("agent", 2)
    assert talking.turns()[1] == ("user", ATTACK)
    assert ATTACK in talking.text()
    assert f"Sam {ATTACK}@" in talking.text()
    assert talking.page.title() == f"Talk with Sam {ATTACK}@{talking.window.session.agent.version}"
    assert talking.page.evaluate("window.hit") is None
    assert talking.page.locator("#bold").count() == 0
    assert "typing only" in talking.text()
    assert talking.console == []


def test_a_used_link_and_a_page_loaded_again_say_what_to_do(open_page: Callable[..., WindowPage]) -> None:
    talking = open_page()
    talking.page.get_by_role("button", name="Start talking").wait_for()
    again = talking.page.context.new_page()
    again.goto(talking.window.url)
    again.get_by_role("alert").wait_for()
    assert "This link was used already, and works only once: run %talk AGENT --window" in again.inner_text("main")
    talking.page.reload()
    talking.page.get_by_role("alert").wait_for()
    assert "loaded again, and a link works only once" in talking.text()
    assert talking.window.session.wait(10).status in ("done", "failed")


def test_when_the_owner_of_the_link_goes_the_page_says_so(open_page: Callable[..., WindowPage]) -> None:
    talking = open_page()
    talking.page.get_by_role("button", name="Start talking").wait_for()
    talking.window.session.end()
    talking.until("Ended: the notebook or program that made this link ended it, or is gone")
    assert talking.page.get_by_label("Type to the agent").is_hidden()
