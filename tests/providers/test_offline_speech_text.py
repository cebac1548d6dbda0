"""What the embedded voice is given to say, and what the embedded recogniser expects to hear, of any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai_lab.errors import InvalidValueError
from convai_lab.providers.offline_speech.espeak_voices import LANGUAGES, VOICES, check_speed, engine_voice, stand_in
from convai_lab.providers.offline_speech.spoken_forms import MAX_FORMS, spoken_forms
from convai_lab.providers.offline_speech.spoken_text import LONGEST_PIECE, Piece, WordMarks, pieces, speakable


@given(st.text(max_size=900))
def test_pieces_are_stretches_of_the_text_in_order(text: str) -> None:
    end = 0
    for piece in pieces(text, longest=50):
        assert piece.start >= end
        assert 0 < len(piece.spoken) <= 50
        for given_char, spoken_char in zip(text[piece.start :], piece.spoken, strict=False):
            assert spoken_char in (given_char, " ")
        end = piece.start + len(piece.spoken)
    assert end <= len(text)


def test_nothing_that_can_be_said_is_left_out() -> None:
    text = "One sentence. " * 50 + "x" * 1000 + " and, after a clause, " + "word " * 200
    assert "".join(piece.spoken for piece in pieces(text)) == text
    assert all(len(piece.spoken) <= LONGEST_PIECE for piece in pieces(text))


def test_a_long_text_is_cut_between_sentences() -> None:
    text = "This is a sentence of some length, with a clause. " * 20
    assert all(piece.spoken.rstrip().endswith(".") and piece.ends_sentence for piece in pieces(text))


@pytest.mark.parametrize("text", ["", " \n", "...", "?!", "🎉 👩‍👩‍👧", "\x00\x1b", "\ud800", "— – -"])
def test_there_is_nothing_to_say_in_signs_alone(text: str) -> None:
    assert list(pieces(text)) == []


def test_what_is_not_for_speaking_becomes_a_space() -> None:
    assert speakable("a\x00b \ud800 **bold** `x` 5 * 3 \U0001f600!") == "a b     bold    x  5 * 3  !"


def test_markup_is_text() -> None:
    text = "<speak>hi</speak> [[h@'loU]] &amp;"
    assert speakable(text) == text


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20_000)), max_size=30))
def test_every_word_gets_one_mark_in_order_whatever_the_engine_reports(reports: list[tuple[int, int]]) -> None:
    piece = Piece(7, "in the house - of 1234 words, isn't it")
    marks, made = WordMarks(piece, 100), []
    for char, sample in reports:
        made += marks.reported(char, 100 + sample, chunk_start=100)
    made += marks.rest(chunk_start=100, end=40_000)
    assert [mark.sample for mark in made] == sorted(mark.sample for mark in made)
    words = [piece.spoken[m.char_start - 7 :][: m.char_len] for m in made]
    assert [word for word in words if word != "-"] == piece.spoken.replace("- ", "").split()


def test_a_language_without_spaces_is_marked_by_its_signs() -> None:
    marks = WordMarks(Piece(0, "你好 ok"), 0)
    made = [*marks.reported(0, 0, chunk_start=0), *marks.reported(3, 900, chunk_start=800)]
    assert [(mark.char_start, mark.char_len) for mark in made] == [(0, 1), (1, 1), (3, 2)]


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [
        ("What’s the WEATHER like?", ["what's the weather like"]),
        ("at 2:30 PM", ["at two thirty p m"]),
        ("at 9:05", ["at nine oh five"]),
        ("at 8:00am", ["at eight a m"]),
        ("two thirty p.m.", ["two thirty p m"]),
        ("Order #1234", ["order number one thousand two hundred thirty four", "order number one two three four",
                         "order number twelve thirty four"]),
        ("007", ["zero zero seven"]),
        ("$1,234.50", ["one thousand two hundred thirty four dollars fifty"]),
        ("the 22nd, a 3rd and the 30th", ["the twenty second a third and the thirtieth"]),
        ("Café Größe", ["cafe grosse"]),
        ("state-of-the-art", ["state of the art"]),
        ("B&B at 50%", ["b and b at fifty percent", "b and b at five zero percent"]),
        ("2.5 km", ["two point five km"]),
        ("1234567890", ["one two three four five six seven eight nine zero"]),
        ("日本語", []),
        ("", []),
        ("?!", []),
    ],
)  # fmt: skip
def test_a_phrase_is_expected_as_it_is_read_out(phrase: str, forms: list[str]) -> None:
    assert spoken_forms(phrase) == forms


@given(st.text(max_size=200))
def test_any_phrase_becomes_a_few_lines_of_plain_words(phrase: str) -> None:
    forms = spoken_forms(phrase)
    assert len(forms) <= MAX_FORMS
    assert all(re.fullmatch(r"[a-z']+( [a-z']+)*", form) for form in forms)


def test_known_names_and_ids_have_their_own_voice_and_others_always_the_same() -> None:
    assert [stand_in(name) for name in VOICES] == list(VOICES)
    assert [stand_in(name) for name in (" george ", "JBFqnCBsd6RMkjVDRZzb")] == ["George", "George"]
    others = [f"voice {n}" for n in range(200)]
    assert {stand_in(name) for name in others} == set(VOICES)
    assert [stand_in(name) for name in others] == [stand_in(name) for name in others]
    assert stand_in("") == stand_in("  ")


@pytest.mark.parametrize("language", [*LANGUAGES, "EN_us", "pt-PT", "zh-TW", "fr-FR", "de-AT"])
def test_every_declared_language_has_a_voice_in_the_engine(language: str) -> None:
    library = pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
    name = engine_voice(VOICES["Sarah"], language).partition("+")[0]
    from pathlib import Path

    voices = Path(library.get_data_path()) / "lang"
    codes = {
        line.split()[1].lower()
        for file in voices.rglob("*")
        if file.is_file()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("language ")
    }
    assert name in codes


@pytest.mark.parametrize("language", ["", "fil", "xx", "klingon", "../../etc", "en" * 500, None, 7])
def test_a_language_that_is_not_spoken_is_refused_in_words(language: object) -> None:
    with pytest.raises(InvalidValueError, match="language: espeak-ng does not speak"):
        engine_voice(VOICES["Sarah"], language)  # type: ignore[arg-type]


@pytest.mark.parametrize("speed", [0.69, 1.21, float("nan"), "1", None, True])
def test_a_speed_out_of_range_is_refused_in_words(speed: object) -> None:
    with pytest.raises(InvalidValueError, match=r"speed: must be a number from 0.7 to 1.2"):
        check_speed(speed)  # type: ignore[arg-type]


def test_a_voice_must_be_named_by_text() -> None:
    with pytest.raises(InvalidValueError, match="voice"):
        stand_in(7)  # type: ignore[arg-type]
