"""Entities: which numbers, codes, dates, times, names and addresses are in these words?

Values are kept as they were said; a date or a time takes its ISO form only when nothing has to be guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from convai_lab.providers.offline.found import Found, inside, is_negated
from convai_lab.providers.offline.moments import dates_in, times_in
from convai_lab.providers.offline.words import STOP_WORDS, digits_in, is_number_word, listed, number_in

MAX_CODE_CHARS = 64
MAX_FOUND = 60
"""How many numbers of one text are looked at: the last ones, as corrections come late."""


@lru_cache(maxsize=256)
def emails_in(text: str) -> tuple[Found, ...]:
    """Find e-mail addresses, also spoken ones (``ada at example dot com``)."""
    spoken = (Found(re.sub(r"\s+at\s+", "@", re.sub(r"\s+dot\s+", ".", m[0], flags=re.I), flags=re.I), *m.span())
              for m in _SPOKEN_EMAIL.finditer(text))  # fmt: skip
    return tuple(_found(_EMAIL, text)) or tuple(spoken)


@lru_cache(maxsize=256)
def urls_in(text: str) -> tuple[Found, ...]:
    """Find web addresses."""
    return tuple(_found(_URL, text))


@lru_cache(maxsize=256)
def phones_in(text: str) -> tuple[Found, ...]:
    """Find phone numbers of at least seven digits."""
    dates = dates_in(text)
    found = [f for f in _found(_PHONE, text) if sum(c.isdigit() for c in f.value) >= 7 and not inside(f, dates)]
    return tuple(found) or tuple(f for f in _spoken_digits(text) if len(f.value) >= 7)


@lru_cache(maxsize=256)
def codes_in(text: str) -> tuple[Found, ...]:
    """Find order numbers and the like: tokens with a digit, and digits said one by one."""
    taken = (*emails_in(text), *urls_in(text), *dates_in(text), *times_in(text))
    found = []
    for match in _CODE.finditer(text):
        value = re.sub(r"\s", "", match[0].lstrip("#").rstrip("-_/."))
        candidate = Found(value, match.start(), match.end(), is_negated(text, match.start()))
        plain_number = value.isdigit()
        if any(c.isdigit() for c in value) and len(value) <= MAX_CODE_CHARS and not inside(candidate, taken):
            if plain_number and _UNIT.match(text, match.end()):
                continue
            if not _ORDINAL.fullmatch(value):
                found.append(candidate)
    spoken = [f for f in _spoken_digits(text) if not inside(f, taken)]
    return tuple(sorted((*found, *spoken), key=lambda f: f.start))[-MAX_FOUND:]


@lru_cache(maxsize=256)
def numbers_in(text: str) -> tuple[Found, ...]:
    """Find amounts, in digits or in words, that are no part of a date, a time or an address."""
    taken = (*emails_in(text), *urls_in(text), *dates_in(text), *times_in(text))
    digits = [Found(m[0].replace(",", ""), *m.span(), is_negated(text, m.start())) for m in _NUMBER.finditer(text)]
    both = [*digits, *_spoken_numbers(text)]
    return tuple(sorted((f for f in both if not inside(f, taken)), key=lambda f: f.start))[-MAX_FOUND:]


@lru_cache(maxsize=256)
def names_in(text: str) -> tuple[Found, ...]:
    """Find what the caller gives as a name."""
    found = []
    for match in _NAME.finditer(text):
        kept: list[str] = []
        for word in match["name"].split():
            bare = word.strip('.,!?;:"')
            if bare.lower() in _NOT_IN_NAMES or any(c.isdigit() for c in bare) or len(kept) == 3:
                break
            kept.append(bare)
            if word != bare:
                break
        if kept and (match["sure"] or kept[0][:1].isupper()):
            name = " ".join(kept)
            found.append(Found(name.title() if name.islower() else name, *match.span("name")))
    return tuple(found)


@lru_cache(maxsize=256)
def places_in(text: str, before: str = "in|to|from|at|near|for|around") -> tuple[Found, ...]:
    """Find places after one of the words `before`, with a capital or not."""
    found = []
    for match in re.finditer(rf"\b(?:{before})\s+(?:the\s+)?((?:[^\W\d_][\w'-]*\s?){{1,3}})", text, re.I):
        kept: list[str] = []
        for word in match[1].split():
            capital = word[:1].isupper()
            if word.lower() in _NOT_A_PLACE or word.lower() in STOP_WORDS or is_number_word(word.lower()):
                break
            if kept and not capital and kept[0][:1].isupper():
                break
            kept.append(word)
            if not capital and len(kept) == 2:
                break
        name = " ".join(kept)
        span = Found(name, match.start(1), match.start(1) + len(name))
        if kept and not inside(span, (*dates_in(text), *times_in(text))):
            found.append(span)
    return tuple(sorted(found, key=lambda f: not f.value[:1].isupper()))


def _spoken_digits(text: str) -> Iterator[Found]:
    """Yield runs of three or more digits said one by one, and ``twelve thirty four``."""
    for start, end, run in _number_runs(text):
        value = digits_in(run)
        if value is None and len(run) >= 2 and all(is_number_word(w) for w in run):
            value = _in_pairs(run)
        if value and len(value) >= 3:
            yield Found(value, start, end, is_negated(text, start))


def _spoken_numbers(text: str) -> Iterator[Found]:
    for start, end, run in _number_runs(text):
        value = number_in(run)
        if value is not None and (len(run) == 1 or digits_in(run) is None):
            yield Found(str(value), start, end, is_negated(text, start))


def _number_runs(text: str) -> Iterator[tuple[int, int, list[str]]]:
    run: list[str] = []
    start = end = 0
    for match in re.finditer(r"[^\W_]+", text):
        word = match[0].lower()
        gap = text[end : match.start()].strip(" -") if run else ""
        fits = is_number_word(word) or (run and word in ("oh", "and")) or word in ("double", "triple")
        if run and (not fits or gap):
            yield from _one_run(start, end, run)
            run = []
        if fits:
            start = start if run else match.start()
            run, end = [*run, word], match.end()
    if run:
        yield from _one_run(start, end, run)


def _one_run(start: int, end: int, run: list[str]) -> Iterator[tuple[int, int, list[str]]]:
    while run and run[-1] in ("and", "oh", "double", "triple"):
        run = run[:-1]
    if run:
        yield start, end, run


def _in_pairs(run: list[str]) -> str | None:
    """Join numbers said in groups: ``twelve thirty four`` is 1234; ordinary numbers (``twenty five``) are not codes."""
    if (
        number_in(run[:2]) is not None
        and len(run) == 2
        and run[0].endswith("ty")
        and not run[1].endswith(("ty", "een"))
    ):
        return None
    if any(w in ("hundred", "thousand", "dozen", "and") for w in run):
        return None
    digits, index = "", 0
    while index < len(run):
        two = run[index : index + 2]
        is_pair = len(two) == 2 and two[0].endswith("ty") and (number_in([two[1]]) or 99) < 10
        digits += str(number_in(two if is_pair else two[:1]) or 0)
        index += 2 if is_pair else 1
    return digits


def _found(pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for match in pattern.finditer(text):
        yield Found(match[0].strip().rstrip(".,;"), *match.span(), is_negated(text, match.start()))


_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_SPOKEN_EMAIL = re.compile(
    r"\b[\w.+-]{1,64}(?:\s+dot\s+\w{1,30})?\s+at\s+\w{1,40}\s+dot\s+\w{2,20}(?:\s+dot\s+\w{2,20})?\b", re.I
)
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"']{3,300}", re.I)
_PHONE = re.compile(r"(?<![\w#-])\+?\(?\d[\d ()./-]{5,20}\d(?![\w-])")
_CODE = re.compile(
    r"(?<![\w.,:])\d+(?: \d+){1,11}(?![\w:-]|[.,]\d)|#?(?<![\w.,:])[A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*(?![\w:]|[.,]\d)"
)
_NUMBER = re.compile(r"(?<![\w.-])-?\d{1,12}(?:,\d{3})*(?:\.\d{1,6})?(?![\w:]|-\w|[.,]\d)")
_ORDINAL = re.compile(r"\d{1,2}(?:st|nd|rd|th)|\d{1,2}[ap]m|\d+x", re.I)
_UNIT = re.compile(
    r"\s*(?:%|€|\$|£|(?:days?|weeks?|months?|years?|hours?|minutes?|mins?|people|persons?|guests?|adults?|"
    r"kids|children|"
    r"nights?|euros?|dollars?|pounds|percent|items?|pieces|times|o'clock|am|pm|of us|copies|tickets)\b)",
    re.I,
)
_NAME = re.compile(
    r"(?:(?P<sure>\b(?:my (?:full |first |last )?name(?:'s| is)|name:|(?:under|in|by|for) the name(?: of)?|"
    r"call me|surname is|"
    r"the name(?:'s| is)|name is)\s+(?:is\s+)?)|\b(?:this is|i am|i'm|it's|it is|under|for|here is)\s+)"
    r"(?P<name>[^\W\d_][\w'’-]*(?:\s+[^\W\d_][\w'’-]*[.,!?;:]?){0,3}[.,!?;:]?)",
    re.I,
)
_NOT_IN_NAMES = STOP_WORDS | frozenset(
    listed(
        """
    calling speaking order number phone email looking trying happy angry sure table tomorrow today
    tonight monday tuesday wednesday thursday friday saturday sunday morning evening people afraid
    waiting new customer spelled interested january february march april may june july august september
    october november december urgent late in party birthday dinner lunch breakfast delivery refund
"""
    )
)
_NOT_A_PLACE = frozenset(
    listed(
        """
    order table booking reservation appointment morning evening afternoon night monday tuesday wednesday
    thursday friday saturday sunday tomorrow today january february march april may june july august
    september october november december person human name number people dinner lunch case fact general
    days weeks hours minutes celsius fahrenheit account address phone email delivery refund check moment
"""
    )
)
