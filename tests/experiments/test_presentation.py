"""What a reader sees first of a comparison, in a notebook and in a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from unicodedata import east_asian_width

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn
from convai_lab.errors import NotFoundError
from convai_lab.experiments.comparison import Comparison

from .conftest import invented, invented_conversation

BETTER = {"a": {f"s{i}": [i < 4] for i in range(16)}, "b": {f"s{i}": [True] for i in range(16)}}
TIED = {"a": {f"s{i:02}": [i % 2 == 0] for i in range(24)}, "b": {f"s{i:02}": [i % 3 == 0] for i in range(24)}}
HOSTILE = '<img src=x onerror="alert(1)">'


def test_the_sentence_says_who_is_better_by_how_much_and_how_sure() -> None:
    sentence = str(invented(BETTER).verdict)
    assert re.fullmatch(r"b beats a by 75 points \[\d+, \d+\], p < \.001", sentence)


def test_the_sentence_says_who_loses() -> None:
    verdict = replace(invented(BETTER), baseline="b").verdict
    assert verdict.sentence.startswith("a loses to b by 75 points")
    assert (verdict.outcome, verdict.winner) == ("worse", "b")


def test_a_tie_says_what_could_have_been_seen() -> None:
    verdict = invented(TIED).verdict
    assert re.match(r"Tied: 24 scenarios × 1 could only have seen \d+ points or more", verdict.sentence)
    assert (verdict.outcome, verdict.winner) == ("tied", None)


def test_of_several_challengers_the_best_supported_is_named_and_the_correction_too() -> None:
    results = {"a": BETTER["a"], "same": BETTER["a"], "b": BETTER["b"], "none": {f"s{i}": [False] for i in range(16)}}
    verdict = invented(results).verdict
    assert verdict.about == verdict.winner == "b"
    assert verdict.sentence.startswith("b beats a by 75 points")
    assert "(Holm over 3 comparisons)" in verdict.sentence
    assert verdict.sentence.endswith("; same and none are tied with a")
    assert set(verdict.by_challenger) == {"same", "b", "none"}


def test_several_ties_name_everybody() -> None:
    verdict = invented({**TIED, "c": TIED["a"]}).verdict
    assert verdict.sentence.startswith("Tied: none of b and c differs from a beyond chance; 24 scenarios × 1 could")


def test_a_run_that_was_looked_at_never_shows_an_ordinary_p_value() -> None:
    decided = str(invented(BETTER, stop="decided").verdict)
    assert decided.startswith("b beats a by 75 points")
    assert decided.endswith("(valid at every look)")
    tied = str(invented(TIED, stop="decided"))
    assert re.match(r"Not decided: after 24 complete scenarios the difference lies within \[-\d+, \d+\] points", tied)
    assert "not decided, p = " in tied
    assert "the interval of a single variant's success does not" in " ".join(tied.split())


def test_one_variant_is_told_with_its_interval() -> None:
    sentence = str(invented({"a": {f"s{i}": [i < 17] for i in range(20)}}).verdict)
    assert sentence.startswith("a succeeds in 85% [64, 95] (20 scenarios, 20 valid trials)")


def test_nothing_done_is_said_and_shown_without_an_error() -> None:
    comparison = invented({"a": {}, "b": {}}, stopped="max_cost", notes=("0 of 8 trials are done: stopped",))
    assert str(comparison.verdict) == "Not known: no trial is done"
    assert "0 of 8 trials are done: stopped" in comparison._repr_html_()


def test_without_anything_to_grade_by_the_sentence_says_what_is_missing_and_who_failed_otherwise() -> None:
    bare = invented({"a": {"s0": [None]}, "b": {"s0": [None]}})
    assert str(bare.verdict).startswith("Not known: nothing says what a success is; give the scenarios checks")
    assert bare.verdict.by_challenger["b"].outcome == "unknown"
    broken = invented({"a": {"s0": ["provider"]}, "b": {"s0": ["provider"]}})
    assert str(broken.verdict) == (
        "Not known: every trial failed through somebody else (provider 2); .df has the reasons"
    )


def both(comparison: Comparison) -> tuple[str, str]:
    return str(comparison), comparison._repr_html_()


def test_text_and_html_tell_the_same_story() -> None:
    for shown in both(invented(BETTER, judge="openai/gpt-4o", price_date="2026-11-01", cost_usd=0.42, cached=3)):
        for told in (
            *("b beats a by 75 points", "25% [10, 49]", "100% [81, 100]", "better, p &lt; .001", "16 of 16", "$0.0020"),
            *("a-served", "openai/gpt-4o", "seed 0", "2026-11-01", "$0.42", "3 cached", "Wilson", "invented.yaml"),
            *("a never said shipped", "gained: b against a, 0 of 1 → 1 of 1"),
        ):
            assert told in shown or told.replace("&lt;", "<") in shown.replace("\n", " ")


def test_offline_variants_are_badged_in_words() -> None:
    some = both(invented(BETTER, offline=("a",)))
    assert all("offline rules, not a language model: a" in shown for shown in some)
    every = both(invented(BETTER, offline=("a", "b")))
    assert all("offline rules, not a language model: all variants" in shown for shown in every)
    assert all("not a language model" not in shown for shown in both(invented(BETTER)))


def test_voice_latency_in_simulated_time_is_said_to_be_that() -> None:
    spoken = {"mode": "voice", "trial": {"voice_to_voice_ms": (400.0,)}}
    offline = both(invented(BETTER, offline=("a",), **spoken))
    assert all(
        "stand-ins that take none, and offline rules answer at once" in " ".join(shown.split()) for shown in offline
    )
    with_models = both(invented(BETTER, **spoken))
    assert all("in simulated time: the speech engines are stand-ins" in " ".join(s.split()) for s in with_models)
    assert not any("offline rules answer" in shown for shown in with_models)
    assert not any("simulated time" in shown for shown in both(invented(BETTER)))


def test_notes_prices_and_failures_of_others_are_said() -> None:
    results = {"a": {"s": [True, "provider"]}, "b": {"s": [True, "judge"]}}
    notes = ("4 of 9 trials are done: stopped at max_cost, $1.00",)
    for shown in both(invented(results, notes=notes, unpriced=("openai/new",), cost_usd=0.2)):
        assert "stopped at max_cost, $1.00" in shown
        assert "unknown (at least $0.20): no price for openai/new" in shown
        assert "provider 1" in shown
        assert "judge 1" in shown
        assert "2 trials failed through somebody else and count for nobody" in " ".join(shown.split())


def test_outcomes_are_told_in_words_and_not_by_colour() -> None:
    html = invented(BETTER)._repr_html_()
    assert "better, p" in html
    assert "▲ gained" in html
    assert "✗ <strong><bdi>a</bdi></strong> failed" in html
    assert "✓ <strong><bdi>b</bdi></strong> succeeded" in html


def test_lines_of_text_are_at_most_100_columns_wide_whatever_the_names() -> None:
    wide, long = "日本語のエージェント" * 4, "a-model-with-quite-a-name-" * 3
    results = {wide: BETTER["a"], long: {f"s{i}": [True] * 3 for i in range(16)}}
    text = str(invented(results, trial={"ttft_ms": (12345.0,)}, notes=("word " * 60,)))
    widths = [sum(2 if east_asian_width(c) in "WF" else 1 for c in line) for line in text.splitlines()]
    calls = [line for line in text.splitlines() if ".conversation(" in line]
    assert max(w for w, line in zip(widths, text.splitlines(), strict=True) if line not in calls) <= 100


def test_columns_of_the_text_are_aligned() -> None:
    lines = str(invented(BETTER)).splitlines()
    rule = next(at for at, line in enumerate(lines) if line.startswith("---"))
    first, second = lines[rule + 1], lines[rule + 2]
    assert first.index("]") == second.index("]")


def test_hostile_names_and_words_stay_text() -> None:
    def said(_: str) -> Conversation:
        turn = Turn(
            role="agent", text=HOSTILE, error=HOSTILE, marks=(HOSTILE,), llm_served=HOSTILE,
            tool_calls=(ToolCall(id="1", name=HOSTILE, arguments={HOSTILE: HOSTILE}),),
            tool_results=(ToolResult(call_id="1", name=HOSTILE, value=HOSTILE, is_error=True),),
        )  # fmt: skip
        return Conversation(id=HOSTILE, agent_id="a", turns=(turn, Turn(role="user", text=HOSTILE)))

    results = {HOSTILE: {HOSTILE: [False] * 2}, "b\x1b[31m\u202e": {HOSTILE: [True] * 2}}
    facts: dict[str, Any] = {
        "judge": HOSTILE, "notes": (HOSTILE,), "source": HOSTILE, "unpriced": (HOSTILE,), "simulated_user": HOSTILE,
        "models_served": {HOSTILE: (HOSTILE,)}, "versions": {HOSTILE: HOSTILE}, "offline": (HOSTILE,),
        "price_date": HOSTILE,
    }  # fmt: skip
    comparison = replace(invented(results, **facts), find_conversation=said)
    html = comparison._repr_html_()
    assert "<img" not in html
    assert html.count("&lt;img") > 20
    assert "<script" not in html
    for shown in (html, str(comparison)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_only_what_is_shown_is_read_from_the_journal() -> None:
    results = {"a": {f"s{i}": [False] for i in range(30)}, "b": {f"s{i}": [True] for i in range(30)}}
    comparison, read = invented(results), []
    by_key = {trial.key: trial for trial in comparison.trials}

    def find(key: str) -> Conversation:
        read.append(key)
        return invented_conversation(by_key[key])

    shown = replace(comparison, find_conversation=find)
    str(shown), repr(shown), shown.leaderboard(), shown.flips()
    assert read == []
    html = shown._repr_html_()
    assert len(read) == 10
    assert html.count("<details") == 5
    assert "the 5 largest of 30" in html


def test_a_conversation_that_is_gone_is_said_and_the_rest_is_shown() -> None:
    html = replace(invented(BETTER), find_conversation=lambda _: None)._repr_html_()
    assert "not in the journal any more" in html
    assert "b beats a" in html


def test_huge_conversations_are_cut_and_it_is_said_where_the_rest_is() -> None:
    long = Conversation(id="c", agent_id="a", turns=(Turn(role="user", text="word " * 10_000),) * 500)
    html = replace(invented(BETTER), find_conversation=lambda _: long)._repr_html_()
    assert len(html) < 600_000
    assert "476 more turns: .conversation(&#39;b&#39;" in html
    assert "more characters" in html


def test_without_flips_there_is_no_section_of_them() -> None:
    comparison = invented({"a": {"s": [True]}, "b": {"s": [True]}})
    assert "Flips" not in comparison._repr_html_()
    assert "Flips" not in str(comparison)


def test_a_terminal_shows_the_text_and_lists_show_one_line() -> None:
    from IPython.lib.pretty import pretty

    comparison = invented(BETTER)
    assert pretty(comparison) == str(comparison)
    assert repr([comparison]) == "[Comparison(a, b: 32 of 32 trials, 16 scenarios)]"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("c", "s0", 0), "variants are a, b"),
        (("a", "order_satus", 0), "did you mean order_status?"),
        (("a", "zzz", 0), "scenarios are s0, order_status"),
        (("a", "s0", 9), "trials count from 0 to 1"),
        (("a", "order_status", 1), "it was not done before the run ended"),
    ],
)
def test_a_trial_that_is_not_there_is_refused_with_what_is(asked: tuple[str, str, int], says: str) -> None:
    comparison = invented({name: {"s0": [True, True], "order_status": [True]} for name in ("a", "b")})
    with pytest.raises(NotFoundError, match=re.escape(says)):
        comparison.trial(*asked)
