"""The language model of a domain: its words, their pronunciation, and how it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pocketsphinx", reason="pip install 'convai-lab[offline]'")

import pocketsphinx

from convai_lab.providers.offline_speech.domain_lm import (
    KEPT_MODELS,
    DomainModel,
    build_model,
    forget_model,
    kept_model,
    missing_words,
    model_key,
)
from convai_lab.providers.offline_speech.filler import everyday_sentences, number_sentences, with_other_codes
from convai_lab.providers.offline_speech.language_model import LanguageModel
from convai_lab.providers.offline_speech.pronunciation import arpabet

PHRASES = ["Where is my order?", "call Kubernetes at 5 pm"]
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
KUBERNETES = ["k", ",u:", "b", "3", "n", "'E", "t#", "i:", "z"]


def _entries(model: DomainModel) -> dict[str, str]:
    lines = Path(model.dictionary).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_probabilities_after_any_context_add_up_to_one() -> None:
    model = LanguageModel({"the": 3.0, "a": 1.0, "order": 1.0})
    model.add([["where", "is", "my", "order"], ["where", "are", "you"]], weight=3.0)
    model.add([["yes"]])
    scores, backoffs = _read(model.arpa())
    words = {*model.vocabulary, "</s>"}
    for context in ((), ("<s>",), ("where",), ("<s>", "where"), ("is", "my"), ("my", "order"), ("the",)):
        total = sum(10 ** _score(word, context, scores, backoffs) for word in words)
        assert total == pytest.approx(1, abs=0.01), context


def _read(arpa: str) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    scores, backoffs = {}, {}
    for line in arpa.splitlines():
        parts = line.split("\t")
        if len(parts) >= 2:
            scores[tuple(parts[1].split())] = float(parts[0])
            backoffs[tuple(parts[1].split())] = float(parts[2]) if len(parts) > 2 else 0.0
    return scores, backoffs


def _score(word: str, context: tuple[str, ...], scores: dict[tuple[str, ...], float], backoffs: dict[tuple[str, ...], float]) -> float:  # fmt: skip # noqa: E501
    if (*context, word) in scores:
        return scores[*context, word]
    return backoffs.get(context, 0.0) + _score(word, context[1:], scores, backoffs)


def test_every_word_of_the_filler_is_in_the_dictionary() -> None:
    assert missing_words([*everyday_sentences(), *number_sentences()]) == []


def test_numbers_can_be_said_digit_by_digit_in_any_order() -> None:
    pairs = {pair for said in number_sentences() for pair in zip(said.split(), said.split()[1:], strict=False)}
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert not [(a, b) for a in digits for b in digits if (a, b) not in pairs]


def test_a_code_in_a_phrase_stands_for_any_of_its_length(tmp_path: Path) -> None:
    model = build_model(tmp_path, ["where is my order one two three four", "track it"], {})
    scores, backoffs = _read(Path(model.lm).read_text(encoding="utf-8"))
    likely = {word: _score(word, ("my", "order"), scores, backoffs) for word in ("one", "nine", "zero", "full")}
    assert likely["one"] > likely["nine"] == likely["zero"] > likely["full"] + 3
    assert _score("eight", ("order", "nine"), scores, backoffs) > -2
    assert _score("</s>", ("six", "seven"), scores, backoffs) > -2


def test_other_codes_have_the_same_length_in_the_same_places() -> None:
    said = ["from", "one", "two", "three", "to", "five", "four", "three"]
    others = list(with_other_codes(said))
    assert len(others) == 100
    assert {(len(other), other[0], other[4]) for other in others} == {(8, "from", "to")}
    assert {tuple(other[1:3]) for other in others} == {(a, b) for a in DIGITS for b in DIGITS}
    assert not list(with_other_codes(["two", "thirty", "p", "m"])) + list(with_other_codes([]))


def test_four_is_known_as_the_british_say_it_too(tmp_path: Path) -> None:
    assert _entries(build_model(tmp_path, PHRASES, {"kubernetes": KUBERNETES}))["four(2)"] == "F AO"


def test_a_model_knows_its_phrases_the_filler_and_the_frequent_words(tmp_path: Path) -> None:
    model = build_model(tmp_path, PHRASES, {"kubernetes": KUBERNETES})
    entries = _entries(model)
    assert {"where", "order", "call", "five", "yes", "goodbye", "because"} <= entries.keys()
    assert entries["kubernetes"] == "K UW B ER N EH T IY Z"
    assert model.guessed == {"kubernetes": "K UW B ER N EH T IY Z"}
    assert model.unknown == ()
    assert 1000 < model.words < 2000
    assert pocketsphinx.Decoder(lm=model.lm, dict=model.dictionary, loglevel="FATAL").lookup_word("kubernetes")


def test_words_that_nobody_can_say_are_named_and_left_out(tmp_path: Path) -> None:
    model = build_model(tmp_path, PHRASES, {})
    assert model.unknown == ("kubernetes",)
    assert "kubernetes" not in Path(model.lm).read_text(encoding="utf-8")


def test_without_phrases_the_general_model_is_used_with_its_likeliest_words(tmp_path: Path) -> None:
    model = build_model(tmp_path, [], {})
    assert model.is_general
    assert model.words == 10_000
    assert "weather" in _entries(model)


@pytest.mark.parametrize("phrases", [[""], ["日本語", "?!"], ["x" * 5000], ["a" * 41], ["yes"], ["yes"] * 1000])
def test_any_phrases_make_a_model_that_a_decoder_loads(tmp_path: Path, phrases: list[str]) -> None:
    model = build_model(tmp_path, phrases, {})
    assert pocketsphinx.Decoder(lm=model.lm, dict=model.dictionary, loglevel="FATAL").lookup_word("yes")


def test_a_kept_model_is_the_one_that_was_built_whatever_the_order(tmp_path: Path) -> None:
    built = build_model(tmp_path, PHRASES, {})
    assert kept_model(tmp_path, PHRASES[::-1]) == built
    assert kept_model(tmp_path, PHRASES[:1]) is None
    forget_model(tmp_path, PHRASES)
    assert kept_model(tmp_path, PHRASES) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"words": "x"}', b"\xff\xfe"])
def test_a_damaged_model_is_made_anew(tmp_path: Path, content: bytes) -> None:
    build_model(tmp_path, PHRASES, {})
    (tmp_path / model_key(PHRASES) / "about.json").write_bytes(content)
    assert kept_model(tmp_path, PHRASES) is None
    assert kept_model(tmp_path, PHRASES) != build_model(tmp_path, PHRASES, {})
    assert kept_model(tmp_path, PHRASES) is not None


@pytest.mark.parametrize("name", ["words.lm", "words.dict"])
def test_a_model_with_an_empty_or_missing_file_is_not_used(tmp_path: Path, name: str) -> None:
    build_model(tmp_path, PHRASES, {})
    file = tmp_path / model_key(PHRASES) / name
    file.write_bytes(b"")
    assert kept_model(tmp_path, PHRASES) is None
    file.unlink()
    assert kept_model(tmp_path, PHRASES) is None


def test_only_the_models_used_last_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT_MODELS + 5):
        (tmp_path / f"old{number}").mkdir()
    build_model(tmp_path, PHRASES, {})
    assert len(list(tmp_path.iterdir())) == KEPT_MODELS
    assert kept_model(tmp_path, PHRASES) is not None


def test_several_processes_may_build_the_same_model_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from convai_lab.providers.offline_speech.domain_lm import *\n"
        "sys.stdin.readline(); model = build_model(Path(sys.argv[1]), json.loads(sys.argv[2]), {}); print(model.words)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(PHRASES)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [worker.communicate("go\n", timeout=60)[0] for worker in workers]
    assert len(set(answers)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [model_key(PHRASES)]
    assert kept_model(tmp_path, PHRASES) is not None


def test_pronunciation_by_rule_is_close_to_the_dictionary() -> None:
    pytest.importorskip("espeakng_loader", reason="pip install 'convai-lab[offline]'")
    words = {}
    with open(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.strip().partition(" ")
            if word.isalpha():
                words[word] = phones.split()
    sample = [word for number, word in enumerate(sorted(words)) if number % 400 == 0]
    said = json.loads(_phonemes(sample))
    wrong = sum(_edits(words[word], (arpabet(said[word]) or "").split()) for word in sample)
    assert wrong / sum(len(words[word]) for word in sample) < 0.15
    assert all(arpabet(said[word]) for word in sample)


def _phonemes(words: list[str]) -> str:
    code = (
        "import sys, json; from convai_lab.providers.offline_speech.espeak_library import EspeakLibrary\n"
        "library = EspeakLibrary(); words = json.load(sys.stdin)\n"
        "print(json.dumps({word: library.phonemes(word, 'en-us') for word in words}))"
    )
    asked = json.dumps(words)
    return subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True).stdout


def _edits(right: list[str], said: list[str]) -> int:
    row = list(range(len(said) + 1))
    for i, phone in enumerate(right, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (phone != other))
    return row[-1]


@pytest.mark.parametrize(
    ("phonemes", "phones"), [([], None), (["k", "§"], None), (["n", "'i@3"], "N IH R"), ([";"], None)]
)
def test_phonemes_that_have_no_sound_here_give_no_pronunciation(phonemes: list[str], phones: str | None) -> None:
    assert arpabet(phonemes) == phones
