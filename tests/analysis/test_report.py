from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")

from convai_lab.analysis.report import write_report
from convai_lab.analysis.samples import sample_conversations
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import Turn, TurnMetrics
from convai_lab.errors import InvalidValueError


def test_a_report_stands_alone_and_describes_its_pictures(tmp_path: Path) -> None:
    page = write_report(sample_conversations()[:3], tmp_path / "r", title="Tuesday").read_text(encoding="utf-8")
    assert "<h1>Tuesday</h1>" in page
    assert page.count("<img") == 3
    assert "voice to voice: median" in page
    assert "<script" not in page


def test_small_costs_and_long_durations_are_written_without_powers(tmp_path: Path) -> None:
    metrics = TurnMetrics(cost_usd=7.3e-06)
    turn = Turn(role="agent", text="Hi", llm_served="m", metrics=metrics)
    said = Conversation(id="c1", agent_id="a", duration_secs=1234.5, turns=(turn,))
    page = write_report(said, tmp_path).read_text(encoding="utf-8")
    assert "<td>$0.0000073</td>" in page
    assert "<td>1,234</td>" in page


def test_what_was_said_is_escaped(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    said = Conversation(id="c1", agent_id="a", agent_name=attack, turns=(Turn(role="user", text=attack),))
    page = write_report(said, tmp_path, title=attack).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    said = Conversation(id="c1", agent_id="a", turns=(Turn(role="user", text="Hi"),))
    assert "No latency: " in write_report(said, tmp_path).read_text(encoding="utf-8")


def test_nothing_to_report_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="nothing to report"):
        write_report([], tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InvalidValueError, match="cannot write into"):
        write_report(sample_conversations()[:1], tmp_path / "file" / "deep")


def test_the_samples_are_whole_and_marked_as_invented() -> None:
    samples = sample_conversations()
    assert len({sample.id for sample in samples}) == 24
    assert all(sample.source == "simulated" and "sample" in sample.tags for sample in samples)
    assert any(turn.interrupted for sample in samples for turn in sample)
