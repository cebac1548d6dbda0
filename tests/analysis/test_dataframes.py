from __future__ import annotations

import pandas as pd
import pytest

from convai_lab.analysis.dataframes import (
    CONVERSATION_COLUMNS,
    TOOL_CALL_COLUMNS,
    TURN_COLUMNS,
    conversations_df,
    tool_calls_df,
    turns_df,
)
from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics
from convai_lab.errors import InvalidValueError

STARTED_AT = 1_767_225_600.25


def _conversation(**changes: object) -> Conversation:
    turns = (
        Turn(role="user", text="Where is it?", started_at=STARTED_AT, start_secs=0.0, end_secs=2.0),
        Turn(
            role="agent",
            text="It is on its way.",
            start_secs=3.0,
            end_secs=6.0,
            llm_requested="gpt-4o-mini",
            tool_calls=(ToolCall(id="c1", name="order_status", arguments={"order_id": "1234"}),),
            tool_results=(ToolResult(call_id="c1", name="order_status", value="shipped", latency_secs=0.25),),
            metrics=TurnMetrics(llm_ttft_ms=120.0, input_tokens=50, cost_usd=0.01, voice_to_voice_ms=800.0),
        ),
    )
    base = Conversation(id="conv_1", agent_id="agent_1", agent_name="support", started_at=STARTED_AT, turns=turns)
    return base.with_changes(**changes)


@pytest.mark.parametrize(
    ("table", "columns"),
    [(turns_df, TURN_COLUMNS), (conversations_df, CONVERSATION_COLUMNS), (tool_calls_df, TOOL_CALL_COLUMNS)],
)
def test_the_columns_and_dtypes_are_the_documented_ones_also_for_nothing(table, columns) -> None:  # type: ignore[no-untyped-def]
    empty, filled = table([]), table(_conversation())
    assert list(empty.columns) == list(columns)
    assert {name: str(dtype) for name, dtype in empty.dtypes.items()} == {n: c.dtype for n, c in columns.items()}
    assert empty.dtypes.equals(filled.dtypes)
    assert len(empty) == 0


def test_every_column_of_the_design_is_there() -> None:
    columns = (
        "conversation_id turn_index role text text_heard started_at start_secs end_secs interrupted "
        "interrupted_at_secs agent_id agent_version llm_requested llm_served asr_engine asr_confidence "
        "tts_engine voice endpointing_ms asr_ms llm_ttft_ms first_sentence_ms tts_ttfb_ms playout_ms "
        "transport_ms voice_to_voice_ms unexplained_ms "
        "tools n_tool_calls tool_ms tool_error input_tokens output_tokens cached_tokens cost_usd "
        "cost_is_estimate finish_reason error"
    )
    assert set(columns.split()) <= set(TURN_COLUMNS)


def test_what_was_not_measured_is_na_and_never_zero() -> None:
    row = turns_df(_conversation()).iloc[0]
    assert row[["llm_ttft_ms", "tool_ms", "input_tokens", "cost_usd", "tool_error", "asr_confidence"]].isna().all()


def test_a_turn_row_holds_what_was_measured_and_called() -> None:
    row = turns_df(_conversation()).iloc[1]
    assert (row["llm_ttft_ms"], row["input_tokens"], row["tools"], row["n_tool_calls"]) == (
        120.0,
        50,
        "order_status",
        1,
    )
    assert not row["tool_error"]


def test_instants_are_utc_to_the_microsecond() -> None:
    assert turns_df(_conversation())["started_at"][0] == pd.Timestamp("2026-01-01 00:00:00.250", tz="UTC")


def test_the_cost_of_a_conversation_is_unknown_as_soon_as_one_reply_has_no_price() -> None:
    known = _conversation()
    unknown = known.with_changes(turns=(*known.turns, Turn(role="agent", text="?", llm_requested="mystery")))
    assert conversations_df(known)["cost_usd"][0] == 0.01
    assert conversations_df(unknown)["cost_usd"].isna().all()


def test_talk_shares_belong_to_voice_only() -> None:
    assert conversations_df(_conversation())["user_talk_share"].isna().all()
    spoken = conversations_df(_conversation(channel="voice"))
    assert spoken["user_talk_share"][0] == pytest.approx(0.4)
    assert spoken["agent_talk_share"][0] == pytest.approx(0.6)


def test_criteria_and_collected_data_become_columns_as_they_occur() -> None:
    judged = Analysis(
        success="success",
        criteria={"polite": CriterionResult(value="success")},
        data={"order_id": CriterionResult(value="1234")},
    )
    table = conversations_df([_conversation(), _conversation(id="conv_2", analysis=judged)])
    assert table["success"].isna().tolist() == [True, False]
    assert table["criteria_polite"].isna().tolist() == [True, False]
    assert table["data_order_id"].tolist()[1] == "1234"


def test_a_tool_call_without_an_answer_is_kept_with_na() -> None:
    call = ToolCall(id="c9", name="refund", arguments={"amount": 3})
    table = tool_calls_df(_conversation(turns=(Turn(role="agent", tool_calls=(call,)),)))
    assert table["tool"].tolist() == ["refund"]
    assert table[["result", "is_error", "latency_ms"]].isna().all(axis=None)


def test_tool_latency_is_in_milliseconds() -> None:
    assert tool_calls_df(_conversation())["latency_ms"].tolist() == [250.0]


@pytest.mark.parametrize("given", ["conv_1", 5, None, [5], [None], ["conv_1"]])
def test_what_is_no_conversation_is_refused_in_words(given: object) -> None:
    with pytest.raises(InvalidValueError, match="conversation"):
        turns_df(given)


def test_platform_json_is_read_too() -> None:
    from convai_lab.conversations.wire_format import conversation_to_wire

    assert turns_df(conversation_to_wire(_conversation()))["text"].tolist() == ["Where is it?", "It is on its way."]


def test_the_tables_survive_parquet(tmp_path) -> None:  # type: ignore[no-untyped-def]
    table = conversations_df(_conversation())
    table.to_parquet(tmp_path / "c.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "c.parquet"), table)
