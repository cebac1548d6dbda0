"""Sentences: a growing text, cut into what a voice can speak."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.voice.sentences import MAX_CHARS, Sentence, SentenceSplitter


def cut(text: str, *, step: int = 3, first_may_be_clause: bool = False) -> list[str]:
    splitter = SentenceSplitter(first_may_be_clause=first_may_be_clause)
    done = [s for at in range(0, len(text), step) for s in splitter.feed(text[at : at + step])]
    return [sentence.text.strip() for sentence in [*done, *splitter.flush()]]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three? Four", 4),
        ("Dr. Smith lives at St. James St. in London. He is in.", 2),
        ("It costs 3.50 euros, i.e. not much. Fine.", 2),
        ("See https://example.com/a.b?c=d. Or not.", 2),
        ("See https://example.com/index.html for more", 1),
        ("J. R. R. Tolkien wrote it. Yes.", 2),
        ("We meet at 4 p.m. on Monday. Fine.", 2),
        ("Well... maybe not. Ok.", 2),
        ("你好。我叫山姆！你呢？", 3),
        ("これは。テスト", 2),
        ("मैं ठीक हूँ। आप?", 2),
        ("First line\nSecond line\n\nThird", 3),
        ("1. Open the door. 2. Go in.", 2),
        ('She said "Stop." Then she left.', 2),
        ("Is it? (Yes.) Good.", 3),
        ("", 0),
        ("...", 1),
    ],
)
def test_a_text_is_cut_where_its_sentences_end(text: str, count: int) -> None:
    assert len([piece for piece in cut(text) if piece]) == count, cut(text)


def test_the_first_piece_may_be_a_clause() -> None:
    text = "Thank you for calling us today, I will look at your order at once, it takes a moment. Done."
    assert cut(text, first_may_be_clause=True) == [
        "Thank you for calling us today,",
        "I will look at your order at once, it takes a moment.",
        "Done.",
    ]


def test_a_sentence_is_told_as_soon_as_the_next_one_begins() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("Yes. ") == []
    assert [s.text for s in splitter.feed("I")] == ["Yes."]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Bold** and *thin* and `code`", "Bold and thin and code"),
        ("## Title", "Title"),
        ("- an item", "an item"),
        ("See [our page](https://example.com/x).", "See our page."),
        ("Great! 🎉👍🏽", "Great!"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("snake_case and _thin_", "snake_case and thin"),
        ("| a | b |", "a  b"),
        ("👍", ""),
        ("---", ""),
        ("```python\n", ""),
        ("  plain  ", "plain"),
        ("~~gone~~", "gone"),
    ],
)
def test_what_is_only_for_the_eye_is_not_spoken(text: str, spoken: str) -> None:
    assert Sentence(text, 0).spoken == spoken


def test_every_spoken_character_knows_its_place_in_the_text() -> None:
    text = " **Bold** [page](http://x.y) 🎉 end"
    sentence = Sentence(text, 10)
    for index, char in enumerate(sentence.spoken):
        assert text[sentence.place_of(index) - 10] == char
    assert sentence.place_of(10_000) == sentence.end


def test_a_text_without_any_end_is_cut_all_the_same() -> None:
    assert all(len(piece) <= MAX_CHARS for piece in cut("word " * 500, step=50))
    assert all(len(piece) <= MAX_CHARS for piece in cut("字" * 2000, step=50))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab .!?,\n*_`[]()。Dr1🎉", max_size=120), st.integers(1, 9))
def test_the_pieces_are_the_text_whole_and_in_order(text: str, step: int) -> None:
    splitter = SentenceSplitter()
    done = [s for at in range(0, len(text), step) for s in splitter.feed(text[at : at + step])]
    done += splitter.flush()
    assert "".join(sentence.text for sentence in done) == text
    assert [sentence.start for sentence in done] == [sum(len(s.text) for s in done[:i]) for i in range(len(done))]


def test_a_huge_reply_is_cut_fast() -> None:
    import time

    started = time.process_time()
    cut("Some words here, and there. " * 4000, step=5)
    assert time.process_time() - started < 5
