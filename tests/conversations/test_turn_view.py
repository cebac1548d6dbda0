"""What a panel shows of one turn: times that nobody measured are said to be so."""

from __future__ import annotations

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn, TurnMetrics
from convai_lab.conversations.turn_view import turn_view

UNMEASURED = "how long the answer took: not measured"
MEASURED = TurnMetrics(voice_to_voice_ms=900)


@pytest.mark.parametrize(
    ("platform", "metrics", "shown"),
    [
        ("elevenlabs", TurnMetrics(), [[], [], [UNMEASURED]]),
        ("elevenlabs", MEASURED, [[], [], ["answered after 900 ms"]]),
        ("local", TurnMetrics(), [[], [], []]),
        ("http://127.0.0.1:8300", TurnMetrics(), [[], [], []]),
    ],
)
def test_how_long_an_answer_took_is_said_to_be_unmeasured_where_only_the_other_platform_could_know(
    platform: str, metrics: TurnMetrics, shown: list[list[str]]
) -> None:
    turns = (Turn(role="agent", text="Hello."), Turn(role="user", text="Well?"), Turn(role="agent", metrics=metrics))
    conversation = Conversation(id="c", agent_id="a", channel="voice", platform=platform, turns=turns)
    assert [turn_view(conversation, index)["times"] for index in range(3)] == shown
