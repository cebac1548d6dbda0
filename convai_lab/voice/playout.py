"""Playout: what of the agent's speech can the user have heard by now?

Clock-free: instants are samples at the output rate, counted from the start of the session, and are passed in.
Speech is counted in samples of the turn; it plays when it is sent, or after what was sent before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from convai_lab.voice.sentences import Sentence

CHARS_A_SECOND = 15
"""How fast speech is taken to be where the engine does not say where its words are."""


class Span(NamedTuple):
    """Speech that plays without a break: from which instant, from which sample of the turn, how many samples."""

    at: int
    first: int
    samples: int


class Word(NamedTuple):
    """One spoken word: the sample of the turn at which it starts, and its place in the turn's text."""

    sample: int
    start: int
    end: int


class Playout:
    """The speech of one turn on its way to the user's ear."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.made = 0
        self.first_at: int | None = None
        self._spans: list[Span] = []
        self._words: list[Word] = []
        self._ends: list[tuple[int, int]] = []
        self._sentence: Sentence | None = None
        self._sentence_sample = 0
        self._word_spans: list[tuple[int, int]] = []
        self._next_word = 0

    def begin_sentence(self, sentence: Sentence) -> None:
        """Note that the speech made from now on is of this sentence."""
        self._sentence, self._sentence_sample = sentence, self.made
        self._word_spans, self._next_word = word_spans(sentence.spoken), 0

    def mark(self, char: int, sample: int) -> None:
        """Note that the spoken character of that index begins at this sample of the sentence.

        Engines mark words, pieces of words or characters; the first mark within a word is its start.
        """
        assert self._sentence is not None
        index = bisect_right(self._word_spans, char, key=lambda span: span[0]) - 1
        if index < self._next_word:
            return
        self._next_word = index + 1
        at = self._sentence_sample + max(0, sample)
        self._add_word(max(at, self._words[-1].sample) if self._words else at, self._word_spans[index])

    def make(self, samples: int) -> None:
        """Note that so much more speech was made of the sentence."""
        self.made += samples

    def end_sentence(self) -> None:
        """Note that the sentence is complete; without marks its words are spread evenly over its speech."""
        assert self._sentence is not None
        if not self._words or self._words[-1].end <= self._sentence.start:
            self._spread(self._sentence, self.made - self._sentence_sample)
        self._ends.append((self.made, self._sentence.end))
        self._sentence = None

    def send(self, first: int, samples: int, *, at: int) -> None:
        """Note that speech of the turn, from sample `first` on, was sent at this instant."""
        start = max(at, self.ends_at)
        if self.first_at is None:
            self.first_at = start
        last = self._spans[-1] if self._spans else None
        if last and last.at + last.samples == start and last.first + last.samples == first:
            self._spans[-1] = Span(last.at, last.first, last.samples + samples)
        else:
            self._spans.append(Span(start, first, samples))

    @property
    def ends_at(self) -> int:
        """Return the instant at which all that was sent will have been played; 0 before anything was sent."""
        return self._spans[-1].at + self._spans[-1].samples if self._spans else 0

    def heard(self, at: int) -> int:
        """Return how many samples of the turn were heard by this instant."""
        for span in reversed(self._spans):
            if span.at <= at:
                return span.first + min(span.samples, at - span.at)
        return 0

    def cut(self, at: int) -> int:
        """Forget what plays after this instant, and return how many samples of the turn were heard."""
        heard = self.heard(at)
        self._spans = [Span(s.at, s.first, min(s.samples, at - s.at)) for s in self._spans if s.at < at]
        if not self._spans:
            self.first_at = None
        return heard

    def word_start(self, sample: int) -> int:
        """Return where in the turn to go on after a pause: the start of the word that was cut."""
        index = bisect_right(self._words, sample, key=lambda word: word.sample) - 1
        return self._words[index].sample if index >= 0 else 0

    def chars_heard(self, at: int) -> int:
        """Return how many characters of the text were heard by this instant, whole words only.

        A word counts once half of it was played.
        """
        return self._chars_at(self.heard(at))

    def words_in(self, first: int, samples: int) -> list[Word]:
        """Return the words that begin in a piece of the speech."""
        begin = bisect_right(self._words, first - 1, key=lambda word: word.sample)
        return self._words[begin : bisect_right(self._words, first + samples - 1, key=lambda word: word.sample)]

    def _chars_at(self, sample: int) -> int:
        ended = bisect_right(self._ends, sample, key=lambda end: end[0]) - 1
        whole = self._ends[ended][1] if ended >= 0 else 0
        if self._sentence is not None and not self._has_words_of(self._sentence) and sample > self._sentence_sample:
            return max(whole, self._guess(self._sentence, sample - self._sentence_sample))
        index = bisect_right(self._words, sample, key=lambda word: word.sample) - 1
        if index >= 0 and not self._is_half_heard(index, sample):
            index -= 1
        return max(whole, self._words[index].end if index >= 0 else 0)

    def _is_half_heard(self, index: int, sample: int) -> bool:
        word = self._words[index]
        following = self._words[index + 1].sample if index + 1 < len(self._words) else max(self.made, word.sample + 1)
        return 2 * (sample - word.sample) >= following - word.sample

    def _has_words_of(self, sentence: Sentence) -> bool:
        return bool(self._words) and self._words[-1].end > sentence.start

    def _spread(self, sentence: Sentence, samples: int) -> None:
        for start, end in self._word_spans:
            self._add_word(self._sentence_sample + samples * start // len(sentence.spoken), (start, end))

    def _add_word(self, sample: int, span: tuple[int, int]) -> None:
        assert self._sentence is not None
        start, end = span
        self._words.append(Word(sample, self._sentence.place_of(start), self._sentence.place_of(end - 1) + 1))

    def _guess(self, sentence: Sentence, samples: int) -> int:
        """Return the characters heard of a sentence of which nothing is known but how long it has been playing."""
        chars = samples * CHARS_A_SECOND // self.rate_hz
        ends = [end for _, end in self._word_spans if end <= chars]
        return sentence.place_of(ends[-1] - 1) + 1 if ends else 0


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end; without spaces between words every character is one.

    Example:
        >>> word_spans("So it is.")
        [(0, 2), (3, 5), (6, 9)]
    """
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for at, char in enumerate(text):
        alone = _stands_alone(char)
        if (char.isspace() or alone) and start is not None:
            spans.append((start, at))
            start = None
        if alone:
            spans.append((at, at + 1))
        elif not char.isspace() and start is None:
            start = at
    return [*spans, (start, len(text))] if start is not None else spans


def _stands_alone(char: str) -> bool:
    """Say whether the script writes no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return (
        "\u2e80" <= char <= "\u9fff"
        or "\u0e00" <= char <= "\u0eff"
        or "\u1000" <= char <= "\u109f"
        or ("\u1780" <= char <= "\u17ff" or "\uff66" <= char <= "\uff9f" or "\U00020000" <= char <= "\U0003ffff")
    )
