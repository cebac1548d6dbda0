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
