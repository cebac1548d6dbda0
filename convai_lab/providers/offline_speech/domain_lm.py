"""Domain LM: which words and sentences does the recogniser expect, and where are they kept?

A language model and a dictionary cut to its words, made from the phrases of an agent and the filler that every
caller says, kept on disk by a hash of what they were made from. A decoder with them is ready in 15 to 40 ms; with
the full dictionary it took 12 s (measured). Without phrases there is nothing to bind it to: then the general English
model that comes with pocketsphinx is used, with the dictionary cut to its 10,000 likeliest words, which is as good
(11 % of words wrong in ten short recordings, both) and costs half as much.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from convai_lab.providers.offline_speech.filler import codes_in, everyday_sentences, number_sentences, with_other_codes
from convai_lab.providers.offline_speech.language_model import LanguageModel
from convai_lab.providers.offline_speech.pronunciation import arpabet
from convai_lab.providers.offline_speech.spoken_forms import spoken_forms

FORMAT = 3
"""Changed whenever what is written changes, so that nothing older is read."""
BACKGROUND_WORDS = 1000
GENERAL_WORDS = 10_000
NUMBER_WEIGHT = 0.25
LEAST_PHRASE_WEIGHT = 3.0
"""How often a phrase counts when there are many of them; few ones count together as much as all filler."""
OTHER_CODES = 3.0
"""How often a phrase with a code counts with all other codes together, beside the one in it. Measured on 32 sentences
with other codes than the phrases', spoken by four synthetic voices: 71 of 128 codes are right instead of 22."""
MOST_CODED = 400
"""Of more phrases with codes fewer other codes each are enough."""
ALSO_SAID = {"four": "F AO"}
"""How digits are said where the dictionary's Americans say them otherwise."""
LONGEST_WORD = 40
KEPT_MODELS = 40
LOG_BASE = 1.0001

Pronounce = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class DomainModel:
    """The files of a decoder, and what is to be known about its words."""

    lm: str
    dictionary: str
    words: int
    guessed: Mapping[str, str]
    unknown: tuple[str, ...]
    is_general: bool = False


def model_key(phrases: Sequence[str]) -> str:
    """Return the name under which a model is kept: a hash of all that it is made from."""
    import pocketsphinx

    made_from = [FORMAT, getattr(pocketsphinx, "__version__", ""), sorted(set(phrases)), *_filler()]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]


def missing_words(phrases: Sequence[str]) -> list[str]:
    """Return the words of the phrases that the dictionary does not know and that are short enough to be words."""
    wanted = {word for sentence in _sentences(phrases) for word in sentence if len(word) <= LONGEST_WORD}
    return sorted(wanted - {word for word, _ in _entries(wanted)})


def kept_model(folder: Path, phrases: Sequence[str]) -> DomainModel | None:
    """Return the model of these phrases if it lies in the folder, whole."""
    place = folder / model_key(phrases)
    try:
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
        os.utime(place)
        return _model(place, about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def build_model(folder: Path, phrases: Sequence[str], phonemes: Mapping[str, Sequence[str]]) -> DomainModel:
    """Make the model of these phrases and put it into the folder, all at once.

    `phonemes` are espeak-ng's for words that the dictionary does not know. Several processes may do this at the same
    time: the first one's is kept, and they are equal.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = folder / model_key(phrases)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        about = _write(fresh, phrases, phonemes)
        if place.exists() and kept_model(folder, phrases) is None:
            shutil.rmtree(place, ignore_errors=True)  # somebody left half of it, or it is damaged
        with contextlib.suppress(OSError):  # it is there already: another process was faster
            fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _drop_old(folder)
    return _model(place, about)


def forget_model(folder: Path, phrases: Sequence[str]) -> None:
    """Remove the model of these phrases, so that it is made anew."""
    shutil.rmtree(folder / model_key(phrases), ignore_errors=True)


def _model(place: Path, about: Mapping[str, Any]) -> DomainModel:
    lm, dictionary = place / "words.lm", place / "words.dict"
    is_general = bool(about["is_general"])
    if not dictionary.stat().st_size or not (is_general or lm.stat().st_size):
        raise ValueError("an empty file")
    return DomainModel(
        lm=_general_lm() if is_general else str(lm),
        dictionary=str(dictionary),
        words=int(about["words"]),
        guessed=dict(about["guessed"]),
        unknown=tuple(about["unknown"]),
        is_general=is_general,
    )


def _write(place: Path, phrases: Sequence[str], phonemes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    sentences = _sentences(phrases)
    guessed = {word: said for word in phonemes if (said := arpabet(phonemes[word])) and len(word) <= LONGEST_WORD}
    if sentences:
        known, unknown = _write_domain(place, sentences, guessed)
    else:
        known, unknown = _write_dictionary(place, dict(_likeliest(GENERAL_WORDS)), {}), []
    about = {"words": known, "guessed": guessed, "unknown": unknown, "is_general": not sentences}
    (place / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return about


def _write_domain(place: Path, sentences: list[list[str]], guessed: Mapping[str, str]) -> tuple[int, list[str]]:
    wanted = {word for sentence in sentences for word in sentence}
    everyday, numbers = _filler()
    usual = {word for sentence in (*everyday, *numbers) for word in sentence}
    known = {word for word, _ in _entries(wanted | usual)} | set(guessed)
    model = LanguageModel(dict(_likeliest(BACKGROUND_WORDS)))
    for filler, weight in ((everyday, 1.0), (numbers, NUMBER_WEIGHT)):
        model.add(([word for word in sentence if word in known] for sentence in filler), weight=weight)
    filler_weight = len(everyday) + NUMBER_WEIGHT * len(numbers)
    phrase_weight = max(LEAST_PHRASE_WEIGHT, filler_weight / len(sentences))
    coded: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:  # what stands on both sides of a word nobody can say does not follow each other
        stretches = _known_stretches(sentence, known)
        model.add(stretches, weight=phrase_weight)
        coded.update(tuple(stretch) for stretch in stretches if codes_in(stretch))
    steps = min(10, 1 + MOST_CODED // max(1, len(coded)))
    for stretch, times in coded.items():
        weight = OTHER_CODES * phrase_weight * times / (10 * steps)
        model.add(with_other_codes(stretch, steps=steps), weight=weight)
    (place / "words.lm").write_text(model.arpa(), encoding="utf-8")
    words = _write_dictionary(place, dict.fromkeys(model.vocabulary, 0.0), guessed)
    return words, sorted(wanted - known)


def _known_stretches(sentence: list[str], known: set[str]) -> list[list[str]]:
    stretches: list[list[str]] = [[]]
    for word in sentence:
        if word in known:
            stretches[-1].append(word)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _write_dictionary(place: Path, words: Mapping[str, float], guessed: Mapping[str, str]) -> int:
    lines = [f"{name} {phones}" for name, phones in _pronunciations(words)]
    lines += [f"{word} {phones}" for word, phones in guessed.items()]
    lines += [f"{word}(2) {phones}" for word, phones in ALSO_SAID.items() if word in words]
    (place / "words.dict").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(words)


def _sentences(phrases: Sequence[str]) -> list[list[str]]:
    return [form.split() for phrase in phrases for form in spoken_forms(phrase)]


@cache
def _filler() -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Return the filler's sentences as words: the everyday ones, and the numbers."""
    everyday, numbers = everyday_sentences(), number_sentences()
    return tuple(tuple(said.split()) for said in everyday), tuple(tuple(said.split()) for said in numbers)


def _drop_old(folder: Path) -> None:
    """Keep the models used last; others may be at work here, so that anything can be gone already."""
    with contextlib.suppress(OSError):
        places = [place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")]
        for place in sorted(places, key=lambda place: place.stat().st_mtime, reverse=True)[KEPT_MODELS:]:
            shutil.rmtree(place, ignore_errors=True)


def _pronunciations(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return every dictionary line of these words, variants such as ``the(2)`` included."""
    wanted = set(words)
    with open(_dictionary_file(), encoding="utf-8") as lines:
        parts = (line.rstrip("\n").partition(" ") for line in lines)
        return [(name, phones) for name, _, phones in parts if name.partition("(")[0] in wanted]


def _entries(words: Iterable[str]) -> list[tuple[str, str]]:
    return [(name.partition("(")[0], phones) for name, phones in _pronunciations(words)]


@cache
def _likeliest(count: int) -> tuple[tuple[str, float], ...]:
    """Return the likeliest words of the general model and how likely they are; it takes 0.3 s, once a process."""
    import pocketsphinx

    model = pocketsphinx.NGramModel(pocketsphinx.Config(), pocketsphinx.LogMath(LOG_BASE), _general_lm())
    with open(_dictionary_file(), encoding="utf-8") as lines:
        words = {line.partition(" ")[0].partition("(")[0] for line in lines}
    scores = {word: model.prob([word]) for word in words}
    best = sorted(scores, key=lambda word: (-scores[word], word))[:count]
    return tuple((word, math.exp(scores[word] * math.log(LOG_BASE))) for word in best)


def _dictionary_file() -> str:
    import pocketsphinx

    return str(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))


def _general_lm() -> str:
    import pocketsphinx

    return str(pocketsphinx.get_model_path("en-us/en-us.lm.bin"))
