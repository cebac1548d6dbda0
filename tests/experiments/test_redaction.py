"""What must not leave with a saved comparison is taken out, and nothing else."""

from __future__ import annotations

from convai_lab.experiments.redaction import hide_in, hide_in_text, variables_hider


def test_redaction_leaves_numbers_dates_and_names_of_models() -> None:
    for text in (
        "order 1234567", "2026-11-22 10:00", "22.11.2026", "claude-haiku-4-5-20251001", "$1,234,567.89", "3.14159265",
        "conv_05ea2e02d62877d46cf2bde58b32a671", "room 12-14", "@handle", "a@b",
    ):  # fmt: skip
        assert hide_in_text(text) == text
    for phone in ("+49 30 901820", "030/901820-12", "0049 30 901820", "5551234567", "(555) 123-4567"):
        assert hide_in_text(f"call {phone} now") == "call [phone] now"


def test_redaction_takes_long_texts_in_their_stride() -> None:
    for text in ("a" * 200_000, "1 " * 100_000, "a.b-" * 50_000, "?key" * 50_000, "((((" * 50_000):
        assert isinstance(hide_in_text(text), str)


def test_redaction_hides_headers_and_values_under_secret_names() -> None:
    value = {"request_headers": {"A": "b"}, "inner": [{"api_key": "k", "max_tokens": 5, "text": "Ada"}], "user_id": "u"}
    hidden = hide_in(value, variables_hider({"name": "Ada", "x": "of", "flag": True}))
    assert hidden == {
        "request_headers": {"A": "[redacted]"},
        "inner": [{"api_key": "[redacted]", "max_tokens": 5, "text": "[name]"}],
        "user_id": "[redacted]",
    }


def test_callers_are_hidden_where_tools_keep_something_under_their_address() -> None:
    state = {"customers": {"ada@example.com": {"orders": 2}, "+49 30 901820 77": {"orders": 1}}}
    assert hide_in(state) == {"customers": {"[e-mail]": {"orders": 2}, "[phone]": {"orders": 1}}}


def test_callers_values_are_found_in_json_in_other_cases_and_before_signs_and_nowhere_in_other_words() -> None:
    hide = variables_hider({"name": "Jörg", "no": "A-77", "note": 'say "hi"', "of": "re", "way": {"street": "Elm 7"}})
    for text, hidden in {
        "JÖRG, A-77; A-770 and Jörgen at Elm 7": "[name], [no]; A-770 and Jörgen at [way]",
        '{"who": "J\\u00f6rg\\nJörg", "said": "say \\"hi\\""}': '{"who": "[name]\\n[name]", "said": "[note]"}',
        "they are there": "they are there",
    }.items():
        assert hide(text) == hidden


def test_a_value_that_holds_an_address_is_hidden_as_a_whole() -> None:
    hide = variables_hider({"contact": "Ada Lovelace, ada@example.com"})
    assert hide_in_text("It is Ada Lovelace, ada@example.com.", hide) == "It is [contact]."


def test_ten_thousand_callers_are_looked_for_as_fast_as_one() -> None:
    hide = variables_hider(*({"name": f"caller {number}"} for number in range(10_000)))
    assert hide("caller 77, " * 20_000) == "[name], " * 20_000


def test_words_of_ours_stay_so_that_a_saved_comparison_can_be_read() -> None:
    ours = {"role": "user", "status": "done", "call_successful": "success", "type": "client", "language": "eng"}
    hide = variables_hider(ours)
    assert hide_in(ours, hide) == ours
    assert hide_in({"result": {"role": "user", "user": 1}}, hide) == {"result": {"role": "[role]", "[role]": 1}}
