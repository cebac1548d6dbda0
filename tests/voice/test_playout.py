"""Playout: what can have been heard, at which instant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.voice.playout import Playout, word_spans
from convai_lab.voice.sentences import Sentence

TEXT = "One two three."


def spoken(*marks: tuple[int, int], text: str = TEXT, samples: int = 3000, sent_at: int = 100) -> Playout:
    playout = Playout(1000)
    playout.begin_sentence(Sentence(text, 0))
    for char, sample in marks:
        playout.mark(char, sample)
    playout.make(samples)
    playout.send(0, samples, at=sent_at)
    playout.end_sentence()
    return playout


WORDS = ((0, 0), (4, 1000), (8, 2000))


@pytest.mark.parametrize(
    ("at", "heard"),
    [
        (0, ""),
        (100, ""),
        (599, ""),
        (600, "One"),
        (1100, "One"),
        (1650, "One two"),
        (2700, "One two three."),
        (9999, TEXT),
    ],
)
def test_a_word_counts_once_half_of_it_was_played(at: int, heard: str) -> None:
    assert TEXT[: spoken(*WORDS).chars_heard(at)] == heard


def test_without_marks_the_words_are_spread_over_the_speech() -> None:
    assert TEXT[: spoken().chars_heard(1700)] == "One two"


def test_while_nothing_is_known_of_a_sentence_its_words_are_guessed() -> None:
    playout = Playout(1000)
    playout.begin_sentence(Sentence("Twelve words or so are in this sentence, which is still being made", 0))
    playout.make(1000)
    playout.send(0, 1000, at=0)
    assert 6 <= playout.chars_heard(1000) <= 15


def test_marks_of_characters_and_of_pieces_of_words_are_whole_words() -> None:
    by_char = spoken(*[(i, i * 200) for i in range(len(TEXT))])
    assert TEXT[: by_char.chars_heard(100 + 900)] == "One"
    odd = spoken((0, 0), (1, 100), (4, 1000), (8, 2000), (8, 2100), (99, 2200))
    assert TEXT[: odd.chars_heard(1650)] == "One two"


def test_marks_out_of_order_or_far_out_do_no_harm() -> None:
    playout = spoken((8, 2000), (0, 5000), (-3, -7), (500, 10**9))
    assert 0 <= playout.chars_heard(1500) <= len(TEXT)
    assert playout.chars_heard(10_000) == len(TEXT)


def test_speech_that_came_late_plays_late() -> None:
    playout = Playout(1000)
    playout.begin_sentence(Sentence("One two", 0))
    for first, at in ((0, 0), (500, 2000)):
        playout.make(500)
        playout.send(first, 500, at=at)
    playout.end_sentence()
    assert [playout.heard(at) for at in (0, 250, 500, 1999, 2250, 2500, 3000)] == [0, 250, 500, 500, 750, 1000, 1000]
    assert playout.ends_at == 2500


def test_after_a_cut_no_more_is_heard_and_the_word_can_be_said_again() -> None:
    playout = spoken(*WORDS)
    assert playout.cut(1400) == 1300
    assert playout.heard(9999) == 1300
    assert playout.ends_at == 1400
    assert playout.word_start(1300) == 1000
    playout.send(1000, 2000, at=5000)
    assert TEXT[: playout.chars_heard(7000)] == TEXT
    assert playout.heard(5000) == 1000


def test_a_cut_before_anything_was_heard_takes_it_all_back() -> None:
    playout = spoken(*WORDS)
    assert playout.cut(50) == 0
    assert (playout.first_at, playout.ends_at, playout.chars_heard(9999)) == (None, 0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("So it is.", ["So", "it", "is."]),
        ("  a  b ", ["a", "b"]),
        ("你好吗", ["你", "好", "吗"]),
        ("", []),
        ("OK 你", ["OK", "你"]),
    ],
)
def test_words_are_found_with_and_without_spaces(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


@given(
    st.text(max_size=40),
    st.integers(0, 4000),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4000)), max_size=8),
)
def test_what_was_heard_only_grows_and_never_exceeds_the_text(text: str, at: int, marks: list[tuple[int, int]]) -> None:
    sentence = Sentence(text, 0)
    if not sentence.spoken:
        return
    playout = spoken(*marks, text=text)
    earlier, later = playout.chars_heard(at), playout.chars_heard(at + 500)
    assert 0 <= earlier <= later <= len(text)
