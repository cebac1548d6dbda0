"""A trial's result is a value: it is changed into another one."""

from __future__ import annotations

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.experiments.trial import TrialResult

RESULT = TrialResult(
    variant="a",
    scenario_id="s",
    trial=0,
    seed=1,
    key="k",
    conversation=Conversation(id="c", agent_id="a"),
    state={"paid": True},
    talk="t",
)


def test_a_changed_result_is_another_one_that_keeps_the_rest() -> None:
    changed = RESULT.with_changes(success=True, turns=4)
    assert (changed.success, changed.turns, changed.talk, changed.state) == (True, 4, "t", {"paid": True})
    assert (RESULT.success, RESULT.turns) == (None, 0)
    assert changed.with_changes(success=None, turns=0) == RESULT


def test_a_light_result_leaves_behind_what_is_in_the_journal() -> None:
    light = RESULT.light()
    assert (light.conversation, light.state, light.talk) == (None, None, "t")
    assert light == RESULT


def test_a_field_that_no_result_has_is_named() -> None:
    with pytest.raises(TypeError, match="a trial has no field sucess"):
        RESULT.with_changes(sucess=True)
