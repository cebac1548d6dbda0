"""Checks find out without a model what holds at the end of a conversation, and say what they cannot know."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, Turn, TurnMetrics
from convai_lab.errors import InvalidValueError
from convai_lab.evaluation.checks import KINDS, CheckResult, all_passed, parse_checks, run_checks
from convai_lab.evaluation.measured_checks import STAGES

DATASETS = Path(__file__).parent.parent.parent / "datasets" / "scenarios"


def agent(text: str = "", **more: Any) -> Turn:
    return Turn(role="agent", text=text, **more)


def user(text: str = "Hello") -> Turn:
    return Turn(role="user", text=text)


def calls(*made: tuple[str, dict[str, Any]]) -> Turn:
    tool_calls = tuple(ToolCall(id=str(i), name=name, arguments=args) for i, (name, args) in enumerate(made))
    return agent("Done.", tool_calls=tool_calls)


def talk(*turns: Turn, **more: Any) -> Conversation:
    return Conversation(id="c", agent_id="a", turns=turns, **more)


def checked(check: dict[str, Any], conversation: Conversation, **more: Any) -> CheckResult:
    (result,) = run_checks(parse_checks([check], "scenario x"), conversation, **more)
    return result


def problem_of(raw: Any) -> str:
    with pytest.raises(InvalidValueError) as caught:
        parse_checks(raw, "scenario refund")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(DATASETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_check_of_the_datasets_is_understood(path: Path) -> None:
    scenarios = yaml.safe_load(path.read_text(encoding="utf-8"))["scenarios"]
    for scenario in scenarios:
        checks = parse_checks(scenario["checks"], f"scenario {scenario['id']}")
        assert [c.kind for c in checks] == [next(iter(raw)) for raw in scenario["checks"]]
        assert pickle.loads(pickle.dumps(checks)) == checks


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("SHIPPED", "It has Shipped.", True),
        ("it's on its way", "It’s  on\nits way", True),
        ("straße", "STRASSE 5", True),
        ("東京", "次は東京です", True),
        ("🙂", "fine 🙂", True),
        ("refund", "I said nothing", False),
        ({"any_of": ["a refund", "money back"]}, "You get your money back.", True),
        ({"any_of": ["refund", "voucher"]}, "No.", False),
        ({"regex": r"order \d{4}"}, "Your Order 1234 ships", True),
        ({"regex": "Order", "match_case": True}, "your order", False),
        ({"text": "art", "whole_word": True}, "Let us start.", False),
        ({"text": "art", "whole_word": True}, "It is ART!", True),
        ({"text": "c++", "whole_word": True}, "I like C++.", True),
        ({"any_of": ["Sam", "Ada"], "match_case": True}, "sam and ada", False),
    ],
)
def test_said_and_never_said_find_texts_words_and_expressions(phrase: Any, text: str, expected: bool) -> None:
    conversation = talk(user("hello"), agent(text))
    assert checked({"said": phrase}, conversation).passed is expected
    assert checked({"never_said": phrase}, conversation).passed is not expected


def test_only_the_agent_counts_and_each_turn_by_itself() -> None:
    conversation = talk(user("a refund please"), agent("no re"), agent("fund"))
    assert checked({"said": "refund"}, conversation).passed is False
    assert checked({"said": {"regex": "re\\s*fund"}}, conversation).passed is False


def test_texts_are_told_as_they_were_written_though_case_does_not_count() -> None:
    found = checked({"said": {"any_of": ["Friday", "Saturday"]}}, talk(agent("on friday")))
    assert (found.name, found.why) == ("said 'Friday' or 'Saturday'", "the agent said 'Friday'")


def test_what_was_not_heard_was_not_said() -> None:
    cut = agent("It ships tomorrow, from Berlin.", text_heard="It ships", interrupted=True)
    assert checked({"said": "Berlin"}, talk(cut)).passed is False
    assert checked({"never_said": "Berlin"}, talk(cut)).passed is True
    assert checked({"said": "ships"}, talk(cut)).passed is True


def test_an_interrupted_turn_of_which_nobody_knows_what_was_heard_leaves_it_open() -> None:
    cut = agent("It ships tomorrow, from Berlin.", interrupted=True)
    result = checked({"said": "Berlin"}, talk(cut))
    assert result.passed is None
    assert "nobody knows" in result.why
    assert checked({"never_said": "Berlin"}, talk(cut)).passed is None
    assert checked({"never_said": "Paris"}, talk(cut)).passed is True
    assert checked({"said": "Berlin"}, talk(cut, agent("Berlin!"))).passed is True


def test_turns_given_at_the_start_answer_for_nothing() -> None:
    given = agent("shipped", marks=("history",), tool_calls=(ToolCall(id="1", name="look"),))
    assert checked({"said": "shipped"}, talk(given)).passed is False
    assert checked({"called": "look"}, talk(given)).passed is False
    assert checked({"turns": 0}, talk(given)).passed is True


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("1234", "1234", True),
        ("1234", 1234, False),
        (1, 1.0, True),
        (1, True, False),
        (None, None, True),
        ([1, {"a": 2}], [1, {"a": 2.0}], True),
        ({"city": "Rome"}, {"city": "Rome", "zip": 1}, False),
        ({"any_of": ["a", "b"]}, "b", True),
        ({"any_of": ["a", "b"]}, "c", False),
        ({"regex": "^ORD-[0-9]+$"}, "ORD-12", True),
        ({"regex": "12"}, 3124, True),
        ({"regex": "rue"}, True, False),
        ({"number": 10, "tolerance": 0.5}, 10.5, True),
        ({"number": 0.3}, 0.1 + 0.2, False),
        ({"number": 0.3, "tolerance": 0.1}, 0.4, True),
        ({"number": 10, "tolerance": 0.5}, "10.4", True),
        ({"number": 10}, "ten", False),
        ({"number": 1}, True, False),
        ({"number": 1}, float("nan"), False),
        ({"present": True}, None, True),
        ({"absent": True}, "x", False),
        ({"equals": {"regex": "x"}}, {"regex": "x"}, True),
    ],
)
def test_arguments_are_matched_as_the_author_asks(wanted: Any, value: Any, expected: bool) -> None:
    check = {"called": {"tool": "book", "arguments": {"it": wanted}}}
    assert checked(check, talk(calls(("book", {"it": value, "more": 1})))).passed is expected


def test_an_argument_may_have_to_be_absent_or_present() -> None:
    made = talk(calls(("book", {"day": "Monday"})))
    assert checked({"called": {"tool": "book", "arguments": {"note": {"absent": True}}}}, made).passed is True
    assert checked({"called": {"tool": "book", "arguments": {"note": {"present": True}}}}, made).passed is False


def test_calls_are_counted() -> None:
    made = talk(calls(("look", {"id": 1}), ("look", {"id": 2})), calls(("look", {"id": 1})))
    assert checked({"called": {"tool": "look", "exactly": 3}}, made).passed is True
    assert checked({"called": {"tool": "look", "exactly": 2, "arguments": {"id": 1}}}, made).passed is True
    assert checked({"called": {"tool": "look", "at_most": 2}}, made).passed is False
    assert checked({"called": {"tool": "look", "at_least": 4}}, made).passed is False
    assert checked({"called": {"tool": "other", "at_most": 1}}, made).passed is True
    assert checked({"called": {"tool": "look", "exactly": 0}}, made).passed is False
    assert checked({"called": {"tool": "look", "at_most": 2}}, made).name == "called look() at most twice"


def test_a_call_that_must_not_be_made_is_named_when_it_was() -> None:
    made = talk(calls(("refund", {"id": "7"})))
    assert checked({"never_called": {"tool": "refund", "arguments": {"id": "8"}}}, made).passed is True
    result = checked({"never_called": "refund"}, made)
    assert (result.passed, result.why) == (False, 'refund(id="7") was called')


def test_calls_must_come_in_their_order_with_others_between_them() -> None:
    made = talk(calls(("find", {"id": 1})), calls(("log", {}), ("refund", {"id": 1})))
    assert checked({"called_in_order": ["find", {"tool": "refund", "arguments": {"id": 1}}]}, made).passed is True
    result = checked({"called_in_order": ["refund", "find"]}, made)
    assert result.passed is False
    assert result.why.startswith("find() was not called after refund()")
    assert checked({"called_in_order": ["find", "find"]}, made).passed is False


def test_a_missing_call_says_what_was_called_instead() -> None:
    made = talk(calls(("order_status", {"id": "9"})))
    near = checked({"called": {"tool": "order_states"}}, made).why
    assert 'order_status(id="9")' in near
    assert "did you mean order_status?" in near
    other = checked({"called": {"tool": "order_status", "arguments": {"id": "1"}}}, made).why
    assert other == 'order_status(id="1") was not called with these arguments; the calls were order_status(id="9")'


def test_turns_are_counted_of_both_sides_or_one() -> None:
    conversation = talk(user(), agent("a"), user(), agent("b"))
    assert checked({"turns": 4}, conversation).passed is True
    assert checked({"turns": {"at_most": 3}}, conversation).passed is False
    assert checked({"turns": {"at_least": 2, "by": "user"}}, conversation).passed is True
    assert checked({"turns": {"at_most": 1, "by": "agent"}}, conversation).why == "there were 2 turns of the agent"


def timed(*ttfts: float | None, **more: Any) -> Conversation:
    return talk(*(agent("x", llm_served="m", metrics=TurnMetrics(llm_ttft_ms=ms, **more)) for ms in ttfts))


def test_latency_that_was_not_measured_is_unknown_and_never_passes() -> None:
    for limit in ({"p95_ms": 1e9}, {"max_ms": 1e9}):
        assert checked({"latency": {"stage": "voice_to_voice", **limit}}, timed(100.0)).passed is None
        assert checked({"latency": {"stage": "llm_ttft", **limit}}, timed(100.0, None)).passed is None
        assert checked({"latency": {"stage": "llm_ttft", **limit}}, talk()).passed is None


def test_latency_is_compared_when_what_is_known_decides_it() -> None:
    assert checked({"latency": {"stage": "llm_ttft", "max_ms": 300}}, timed(100.0, 300.0)).passed is True
    assert checked({"latency": {"stage": "llm_ttft", "max_ms": 299}}, timed(100.0, 300.0, None)).passed is False
    assert checked({"latency": {"stage": "llm_ttft", "p95_ms": 290}}, timed(100.0, 200.0, 300.0)).passed is True
    result = checked({"latency": {"stage": "llm_ttft", "p95_ms": 289}}, timed(100.0, 200.0, 300.0))
    assert (result.passed, result.why) == (False, "p95 llm_ttft was 290 ms over 3 turns")


def test_invented_times_are_no_measurement() -> None:
    checks = parse_checks([{"latency": {"stage": "llm_ttft", "max_ms": 10}}, {"turns": 1}], "s")
    results = run_checks(checks, timed(0.0), has_real_times=False)
    assert [(r.passed, r.why) for r in results] == [
        (None, "time was invented in this run"),
        (True, "there were 1 turns"),
    ]


def test_turns_without_a_model_or_a_tool_need_no_time() -> None:
    first, later = agent("Hello"), agent("x", llm_served="m", metrics=TurnMetrics(llm_ttft_ms=5.0))
    assert checked({"latency": {"stage": "llm_ttft", "max_ms": 10}}, talk(first, later)).passed is True
    assert checked({"latency": {"stage": "tool", "max_ms": 10}}, talk(first, calls(("a", {})))).passed is None


def test_an_unknown_cost_is_unknown_and_a_known_part_may_already_be_too_much() -> None:
    def costing(*usd: float | None) -> Conversation:
        return talk(*(agent("x", llm_served="m", metrics=TurnMetrics(cost_usd=cost)) for cost in usd))

    assert checked({"cost_usd": 0.02}, costing(0.01, 0.01)).passed is True
    assert checked({"cost_usd": {"at_most": 0.01}}, costing(0.01, 0.01)).passed is False
    assert checked({"cost_usd": 0.02}, costing(0.01, None)).passed is None
    assert checked({"cost_usd": 0.005}, costing(0.01, None)).passed is False
    assert checked({"cost_usd": 1}, talk()).passed is None
    assert checked({"cost_usd": 2e-05}, costing(7.3e-06)).why == "it cost $0.0000073"


def test_how_it_ended_is_compared_and_unknown_when_nobody_says() -> None:
    ended = talk(ended_by="agent", end_reason="end_call tool was called")
    assert checked({"ended_by": "Agent"}, ended).passed is True
    assert checked({"ended_by": "age"}, ended).passed is False
    assert checked({"ended_by": {"any_of": ["user", "agent"]}}, ended).passed is True
    assert checked({"end_reason": "end_call"}, ended).passed is True
    assert checked({"end_reason": {"regex": "^timeout"}}, ended).passed is False
    assert checked({"ended_by": "agent"}, talk()).passed is None


def test_the_state_of_mocked_tools_is_compared_whole_or_in_part() -> None:
    left = {"orders": {"1": {"status": "cancelled", "n": 2}}, "log": [1]}
    some = {"state": {"has": {"orders": {"1": {"status": "cancelled"}}}}}
    assert checked(some, talk(), tool_state=left).passed is True
    assert checked(some, talk()).passed is None
    wrong = checked({"state": {"has": {"orders": {"1": {"status": "open"}}}}}, talk(), tool_state=left)
    assert (wrong.passed, wrong.why) == (False, 'orders.1.status is "cancelled", not "open"')
    assert checked({"state": {"equals": {"log": [1]}}}, talk(), tool_state=left).passed is False
    assert checked({"state": {"equals": left}}, talk(), tool_state=left).passed is True
    assert checked({"state": {"equals": {}}}, talk(), tool_state={}).passed is True


def test_collected_data_is_compared_and_unknown_when_nothing_was_collected() -> None:
    data = {"order": CriterionResult(value="1234"), "people": CriterionResult(value=None)}
    conversation = talk(analysis=Analysis(data=data))
    assert checked({"collected": {"item": "order", "regex": "^[0-9]{4}$"}}, conversation).passed is True
    assert checked({"collected": {"item": "order", "equals": "9"}}, conversation).passed is False
    assert checked({"collected": {"item": "people", "equals": None}}, conversation).passed is True
    assert checked({"collected": {"item": "day", "present": True}}, conversation).passed is None
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}}
    result = checked({"collected": {"schema": schema}}, conversation)
    assert result.passed is False
    assert result.why.startswith("people: None is not of type")
    assert checked({"collected": {"item": "order", "schema": {"type": "string"}}}, conversation).passed is True
    assert checked({"collected": {"schema": schema}}, talk()).passed is None
    for useless in ({"$ref": "#/nowhere"}, {"$ref": "#"}):
        assert checked({"collected": {"schema": useless}}, conversation).passed is None


def test_a_schema_fetches_nothing(loopback: tuple[str, list[str]]) -> None:
    url, asked = loopback
    conversation = talk(analysis=Analysis(data={"order": CriterionResult(value="1234")}))
    assert checked({"collected": {"schema": {"$ref": f"{url}/schema.json"}}}, conversation).passed is None
    assert asked == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("said: x", ["scenario refund, checks", "must be a list"]),
        ([{"said": "a"}, {"sayd": "b"}], ["check 2", "'sayd'", "did you mean said?"]),
        (["said"], ["check 1", "one key"]),
        ([{}], ["check 1", "one key", "none"]),
        ([{"said": "a", "whole_word": True}], ["check 1", "one key", "said, whole_word"]),
        ([{"said": 1234}], ["check 1: said", "must be a text", "quotes"]),
        ([{"said": True}], ["quotes"]),
        ([{"said": None}], ["must be a text"]),
        ([{"said": "  "}], ["empty"]),
        ([{"said": {"any_off": ["a"]}}], ["'any_off'", "did you mean any_of?"]),
        ([{"said": {"any_of": "a"}}], ["said.any_of", "list"]),
        ([{"said": {"any_of": ["a", 5]}}], ["said.any_of[1]"]),
        ([{"said": {"regex": "("}}], ["said.regex", "regular expression"]),
        ([{"said": {"regex": "a", "text": "b"}}], ["one of text, any_of, regex", "text and regex"]),
        ([{"said": {"text": "a", "whole_word": "yes"}}], ["whole_word", "true or false"]),
        ([{"called": {"arguments": {}}}], ["check 1: called", "tool is missing"]),
        ([{"called": {"tool": "a", "argument": {}}}], ["did you mean arguments?"]),
        ([{"called": {"tool": "a", "arguments": [1]}}], ["called.arguments", "mapping"]),
        ([{"called": {"tool": "a", "exactly": -1}}], ["called.exactly", "at least 0"]),
        ([{"called": {"tool": "a", "exactly": 1, "at_most": 2}}], ["not both"]),
        ([{"called": {"tool": "a", "at_least": 3, "at_most": 2}}], ["more than at_most"]),
        ([{"called": {"tool": "a", "arguments": {"d": {"regx": "x"}}}}], ["arguments.d", "did you mean regex?"]),
        ([{"called": {"tool": "a", "arguments": {"d": {"number": "x"}}}}], ["arguments.d.number", "number"]),
        ([{"called": {"tool": "a", "arguments": {"d": {"regex": "x", "tolerance": 1}}}}], ["tolerance belongs"]),
        ([{"called": {"tool": "a", "arguments": {"d": {1, 2}}}}], ["arguments.d", "JSON"]),
        ([{"called_in_order": ["a"]}], ["at least two"]),
        ([{"latency": {"stage": "ttft", "max_ms": 1}}], ["latency.stage", "did you mean llm_ttft?"]),
        ([{"latency": {"stage": "asr"}}], ["p95_ms, max_ms"]),
        ([{"latency": {"stage": "asr", "max_ms": float("nan")}}], ["latency.max_ms", "number"]),
        ([{"cost_usd": -1}], ["cost_usd", "at least 0"]),
        ([{"turns": {}}], ["at_least, at_most"]),
        ([{"turns": True}], ["turns.at_most"]),
        ([{"turns": {"at_most": 2, "by": "agents"}}], ["did you mean agent?"]),
        ([{"state": {"orders": {}}}], ["has: {...}"]),
        ([{"collected": {"schema": {"type": "strin"}}}], ["collected.schema", "not a JSON schema"]),
        ([{"collected": {"schema": {"pattern": "("}}}], ["collected.schema", "'('"]),
        ([{"collected": {"equals": 1}}], ["item"]),
    ],
)
def test_a_wrong_check_is_one_sentence_with_the_scenario_the_number_and_the_field(raw: Any, expected: Any) -> None:
    problem = problem_of(raw)
    assert problem.startswith("scenario refund, check")
    assert [word for word in expected if word not in problem] == [], problem


def test_a_huge_wrong_value_is_not_repeated_whole() -> None:
    assert len(problem_of([{"x" * 100_000: 1}])) < 400
    assert len(problem_of([{"said": {"any_of": {str(n): n for n in range(100_000)}}}])) < 400


def test_an_empty_conversation_says_nothing_and_breaks_no_rule() -> None:
    raw = [{"said": "a"}, {"never_said": "a"}, {"called": "a"}, {"never_called": "a"}, {"turns": 0}]
    assert [r.passed for r in run_checks(parse_checks(raw, "s"), talk())] == [False, True, False, True, True]


def test_unknown_is_never_counted_as_a_success() -> None:
    def result(passed: bool | None) -> CheckResult:
        return CheckResult(passed, "n", "w")

    assert all_passed([result(True), result(True)]) is True
    assert all_passed([result(True), result(None)]) is None
    assert all_passed([result(None), result(False)]) is False
    assert all_passed([]) is None


def test_checks_that_were_read_before_are_taken_as_they_are() -> None:
    checks = parse_checks([{"said": "a"}], "s")
    assert parse_checks(checks, "s") == checks
    assert parse_checks(None, "s") == ()


def test_every_kind_is_described_for_the_reader() -> None:
    from convai_lab.evaluation import checks

    assert [kind for kind in KINDS if f"{kind}:" not in (checks.__doc__ or "")] == []


def test_every_time_of_a_turn_can_be_checked() -> None:
    times = {field.name for field in fields(TurnMetrics) if field.name.endswith("_ms")} - {"unexplained_ms"}
    assert {f"{stage}_ms" for stage in STAGES} == times
