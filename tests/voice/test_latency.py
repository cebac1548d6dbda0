"""The waterfall of a reply adds up, counts only what was waited for, and knows what was not measured."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.conversations.turn import TurnMetrics
from convai_lab.errors import InvalidValueError
from convai_lab.voice.latency import INSTANTS, ReplyLatency

OURS = ("endpointing_ms", "asr_ms", "llm_ttft_ms", "first_sentence_ms", "tts_ttfb_ms", "playout_ms")
STAGES = (*OURS, "transport_ms")
ENDS = ("endpoint", "asr_final", "llm_first_token", "first_sentence", "tts_first_byte", "audible")
FIELDS = (*STAGES, "voice_to_voice_ms", "unexplained_ms")
TYPICAL = {
    "speech_ended": 10.0,
    "endpoint": 10.4,
    "asr_asked": 10.4,
    "asr_final": 10.5,
    "llm_asked": 10.5,
    "llm_first_token": 10.7,
    "first_sentence": 10.75,
    "tts_asked": 10.75,
    "tts_first_byte": 10.85,
    "audible": 10.875,
}


def timed(*, transport_ms: float | None = None, **instants: float) -> ReplyLatency:
    times = ReplyLatency(transport_ms=transport_ms)
    for name, at in instants.items():
        times.mark(name, at)  # type: ignore[arg-type]
    return times


def values(metrics: TurnMetrics) -> tuple[float | None, ...]:
    return tuple(getattr(metrics, name) for name in FIELDS)


def test_every_stage_of_a_plain_reply_is_told() -> None:
    assert values(timed(**TYPICAL).metrics()) == (400, 100, 200, 50, 100, 25, None, 875, 0)
    assert [(stage.name, stage.ms) for stage in timed(**TYPICAL).stages()] == [
        ("endpointing", 400),
        ("asr", 100),
        ("llm_ttft", 200),
        ("first_sentence", 50),
        ("tts_ttfb", 100),
        ("playout", 25),
        ("transport", None),
    ]


def test_the_way_to_the_page_and_back_comes_on_top_where_it_was_measured() -> None:
    metrics = timed(**TYPICAL, transport_ms=150.0).metrics()
    assert values(metrics) == (400, 100, 200, 50, 100, 25, 150, 1025, 0)
    assert timed(**TYPICAL, transport_ms=150.0).metrics(metrics) == metrics, "however often it is told"


def test_the_way_is_known_of_a_greeting_too_which_has_no_voice_latency() -> None:
    metrics = timed(audible=10.0, transport_ms=150.0).metrics()
    assert (metrics.transport_ms, metrics.voice_to_voice_ms, metrics.unexplained_ms) == (150, None, None)


def test_recognition_that_was_done_before_the_endpoint_cost_nothing() -> None:
    times = timed(**{**TYPICAL, "asr_asked": 10.2, "asr_final": 10.35, "llm_asked": 10.4, "llm_first_token": 10.6})
    assert values(times.metrics()) == (400, 0, 200, 150, 100, 25, None, 875, 0)


def test_recognition_that_ended_after_the_endpoint_costs_only_what_stuck_out() -> None:
    assert timed(**{**TYPICAL, "asr_asked": 10.2}).metrics().asr_ms == 100


def test_a_model_asked_before_the_endpoint_costs_only_what_was_waited_for() -> None:
    early = {**TYPICAL, "asr_asked": 10.2, "asr_final": 10.3, "llm_asked": 10.3, "llm_first_token": 10.55}
    assert timed(**early).metrics().llm_ttft_ms == pytest.approx(150)


def test_time_that_no_stage_explains_is_unexplained() -> None:
    times = timed(**{**TYPICAL, "llm_asked": 10.6, "tts_asked": 10.8})
    assert values(times.metrics()) == (400, 100, 100, 50, 50, 25, None, 875, 150)


def test_where_a_stage_began_is_the_end_of_the_one_before_unless_told() -> None:
    times = timed(speech_ended=1.0, endpoint=1.4, asr_final=1.5, llm_first_token=1.75, tts_first_byte=2.0, audible=2.0)
    assert values(times.metrics()) == (400, 100, 250, None, 250, 0, None, 1000, 0)


def test_nothing_measured_is_nothing_and_never_zero() -> None:
    assert values(ReplyLatency().metrics()) == (None,) * 9
    assert {stage.ms for stage in ReplyLatency().stages()} == {None}


@pytest.mark.parametrize(
    ("missing", "unknown", "unexplained"),
    [
        ("endpoint", {"endpointing_ms"}, 400),
        ("asr_final", {"asr_ms"}, 100),
        ("llm_first_token", {"llm_ttft_ms", "first_sentence_ms"}, 250),
        ("first_sentence", {"first_sentence_ms"}, 50),
        ("tts_first_byte", {"tts_ttfb_ms", "playout_ms"}, 125),
    ],
)
def test_a_stage_that_was_not_measured_is_unexplained_time(missing: str, unknown: set[str], unexplained: float) -> None:
    metrics = timed(**{name: at for name, at in TYPICAL.items() if name != missing}).metrics()
    assert {name for name in OURS if getattr(metrics, name) is None} == unknown
    assert (metrics.voice_to_voice_ms, metrics.unexplained_ms) == (875, unexplained)
    assert sum(getattr(metrics, name) or 0 for name in STAGES) + unexplained == 875


@pytest.mark.parametrize("missing", ["speech_ended", "audible"])
def test_a_reply_to_typed_text_or_never_heard_has_no_voice_latency(missing: str) -> None:
    metrics = timed(**{name: at for name, at in TYPICAL.items() if name != missing}).metrics()
    assert metrics.voice_to_voice_ms is None
    assert metrics.unexplained_ms is None
    assert metrics.llm_ttft_ms == 200


def test_an_agent_that_spoke_over_the_user_has_no_voice_latency() -> None:
    metrics = timed(**{**TYPICAL, "audible": 9.5}).metrics()
    assert (metrics.voice_to_voice_ms, metrics.unexplained_ms, metrics.asr_ms) == (None, None, 100)


def test_what_was_measured_elsewhere_stays() -> None:
    before = TurnMetrics(llm_ttft_ms=180.0, llm_total_ms=900.0, total_ms=1000.0, input_tokens=7, cost_usd=0.1)
    metrics = timed(**TYPICAL).metrics(before)
    assert (metrics.llm_total_ms, metrics.total_ms, metrics.input_tokens, metrics.cost_usd) == (900, 1000, 7, 0.1)
    assert metrics.llm_ttft_ms == 200
    assert ReplyLatency().metrics(before).llm_ttft_ms == 180


def test_only_the_first_time_counts() -> None:
    times = timed(endpoint=1.0)
    times.mark("endpoint", 2.0)
    assert times.instants == {"endpoint": 1.0}


@pytest.mark.parametrize(("name", "at"), [("finished", 1.0), ("audible", math.nan), ("audible", math.inf)])
def test_what_makes_no_sense_is_refused_in_words(name: str, at: float) -> None:
    with pytest.raises(InvalidValueError, match=r"no instant of a reply|a number of seconds"):
        ReplyLatency().mark(name, at)  # type: ignore[arg-type]


some_instants = st.dictionaries(st.sampled_from(INSTANTS), st.floats(-1e6, 1e6, allow_nan=False))
close_instants = st.dictionaries(st.sampled_from(INSTANTS), st.integers(0, 3_000_000).map(lambda micros: micros / 1e6))
some_transport = st.one_of(st.none(), st.floats(0, 10_000))


@given(st.one_of(some_instants, close_instants), some_transport)
def test_stages_and_unexplained_make_voice_to_voice_exactly_and_nothing_is_negative(
    instants: dict[str, float], transport: float | None
) -> None:
    metrics = timed(**instants, transport_ms=transport).metrics()
    *stages, whole, unexplained = values(metrics)
    assert all(value is None or value >= 0 for value in values(metrics))
    assert (whole is None) == (unexplained is None)
    if whole is not None and unexplained is not None:
        assert sum(stage for stage in stages if stage is not None) + unexplained == whole
        wait = (instants["audible"] - instants["speech_ended"]) * 1000
        assert whole == pytest.approx(wait + (transport or 0), abs=0.4)
    assert (metrics.transport_ms is None) == (transport is None)
    for name, ends in zip(OURS, ENDS, strict=True):
        assert ends in instants or getattr(metrics, name) is None


@given(close_instants)
def test_the_whole_waterfall_fits_into_voice_to_voice(instants: dict[str, float]) -> None:
    times = timed(**instants)
    whole = times.metrics().voice_to_voice_ms
    assert all(stage.ms is None or stage.ms >= 0 for stage in times.stages())
    assert [stage.ms for stage in times.stages()] == list(values(times.metrics())[:7])
    if whole is not None:
        assert sum(stage.ms or 0 for stage in times.stages()) <= whole


def test_the_order_in_which_instants_are_noted_does_not_matter() -> None:
    expected = values(timed(**TYPICAL).metrics())
    for order in itertools.islice(itertools.permutations(TYPICAL), 0, 3_628_800, 400_000):
        assert values(timed(**{name: TYPICAL[name] for name in order}).metrics()) == expected
