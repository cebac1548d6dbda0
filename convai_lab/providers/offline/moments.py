"""Moments: which dates and times of day are in these words?

They are kept as they were said; ISO form is used only when nothing has to be guessed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from convai_lab.providers.offline.found import Found, inside, is_negated
from convai_lab.providers.offline.words import is_number_word, listed, number_in


@lru_cache(maxsize=256)
def dates_in(text: str) -> tuple[Found, ...]:
    """Find dates; day, month and year together become ISO, everything else stays as it was said."""
    found = [Found(_iso_date(m), *m.span(), is_negated(text, m.start())) for m in _DATE.finditer(text)]
    return tuple(found)


@lru_cache(maxsize=256)
def times_in(text: str) -> tuple[Found, ...]:
    """Find times of day, as they were said."""
    return tuple(
        Found(m["time"].strip(), m.start("time"), m.end("time"), is_negated(text, m.start()))
        for m in _TIME.finditer(text)
        if not inside(Found("", m.start("time"), m.end("time")), dates_in(text))
    )


def clock_time(said: str) -> str | None:
    """Return ``HH:MM`` for a time that can mean only one thing, or None."""
    text = said.lower().replace(".", "")
    if "noon" in text and "after" not in text:
        return "12:00"
    if "midnight" in text:
        return "00:00"
    half = "pm" if re.search(r"pm\b|evening|afternoon|tonight|night", text) else None
    half = "am" if re.search(r"am\b|morning", text) else half
    hour, minute = _hour_and_minute(said.lower())
    if hour is None or not 0 <= hour <= 24 or not 0 <= minute < 60:
        return None
    if half is None and not (hour > 12 or re.match(r"0\d:", text) or hour == 0):
        return None
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"{hour % 24:02d}:{minute:02d}"


def _hour_and_minute(text: str) -> tuple[int | None, int]:
    if match := re.search(r"(half past|quarter past|quarter to)\s+(\w+)", text):
        hour = _hour(match[2])
        shift = {"half past": 30, "quarter past": 15, "quarter to": -15}[match[1]]
        if hour is None:
            return None, 0
        return (hour - 1 or 12, 45) if shift < 0 else (hour, shift)
    if match := re.search(r"(\d{1,2})[:.h](\d{2})", text):
        return int(match[1]), int(match[2])
    parts = re.findall(r"[a-z]+|\d+", text)
    hours = [(i, h) for i, p in enumerate(parts) if (h := _hour(p)) is not None]
    if not hours:
        return None, 0
    index, hour = hours[0]
    rest = [p for p in parts[index + 1 :] if is_number_word(p)]
    return hour, number_in(rest) or 0


def _hour(word: str) -> int | None:
    return int(word) if word.isdigit() else number_in([word]) if is_number_word(word) else None


def _iso_date(match: re.Match[str]) -> str:
    said = match[0].strip()
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
        return said
    day, month, year = (match["d1"] or match["d2"]), (match["m1"] or match["m2"]), (match["y1"] or match["y2"])
    if not (day and month and year):
        return re.sub(r"^(?:on|the|for)\s+", "", said, flags=re.I)
    number = int(re.sub(r"\D", "", day)) if day[0].isdigit() else _ORDINAL_WORDS.get(day.lower().replace("-", " "), 0)
    if not 1 <= number <= 31:
        return said
    return f"{year}-{_MONTHS.index(month.lower()[:3]) + 1:02d}-{number:02d}"


_MONTHS = listed(
    """
    jan feb mar apr may jun jul aug sep oct nov dec
"""
)


_MONTH = (r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|"
          r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b")  # fmt: skip


_ORDINAL_WORDS = {
    word: number
    for number, word in enumerate(
        listed(
            """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth
"""
        ),
        start=1,
    )
}


_ORDINAL_WORDS |= {
    f"{tens} {word}": base + number
    for tens, base, top in (("twenty", 20, 9), ("thirty", 30, 1))
    for word, number in list(_ORDINAL_WORDS.items())[:top]
} | {"thirtieth": 30}


_DAY = r"(?:\d{1,2}(?:st|nd|rd|th)?|" + "|".join(sorted((w.replace(" ", "[ -]") for w in _ORDINAL_WORDS), key=len,
                                                      reverse=True)) + ")"  # fmt: skip


_WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"


_DATE = re.compile(
    rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}[./]\d{{1,2}}[./](?:\d{{4}}|\d{{2}})\b|"
    rf"\b(?P<d1>{_DAY})\s+(?:of\s+)?(?P<m1>{_MONTH})(?:,?\s+(?P<y1>\d{{4}}))?|"
    rf"\b(?P<m2>{_MONTH})\s+(?:the\s+)?(?P<d2>{_DAY})\b(?!:)(?:,?\s+(?P<y2>\d{{4}}))?|"
    rf"\b(?:day after tomorrow|tomorrow|today|tonight|(?:(?:this|next|coming)\s+)?{_WEEKDAY}|"
    rf"(?:this|next)\s+(?:week(?:end)?|month)|in\s+(?:\d+|two|three|four|five|six|seven|ten)\s+(?:days|weeks)|"
    rf"the\s+\d{{1,2}}(?:st|nd|rd|th))\b",
    re.I,
)


_HOUR_WORD = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"


_PART_OF_DAY = r"in the (?:morning|afternoon|evening)"


_HALF = rf"(?:[ap]\.?m\b\.?|{_PART_OF_DAY}|at night|o'?clock(?: {_PART_OF_DAY})?)"


_MINUTE_WORD = r"(?:thirty|fifteen|forty[ -]five|twenty|ten|forty|fifty)"


_TIME = re.compile(
    rf"(?P<time>\b\d{{1,2}}[:.h]\d{{2}}(?!\.?\d)(?:\s*{_HALF})?|\b\d{{1,2}}\s*{_HALF}|\b(?:noon|midnight)\b|"
    rf"\b(?:half past|quarter past|quarter to)\s+(?:{_HOUR_WORD}|\d{{1,2}})\b(?:\s+{_HALF})?|"
    rf"\b{_HOUR_WORD}(?:\s+{_MINUTE_WORD})?\s+{_HALF}|\b{_HOUR_WORD}\s+(?:thirty|fifteen|"
    rf"forty[ -]five)\b(?!\s+(?:{_HOUR_WORD}))|"
    rf"(?:(?<=\bat )|(?<=\baround )|(?<=\bby ))(?:{_HOUR_WORD}|\d{{1,2}})\b(?!\s+\w*(?:street|road|avenue|"
    rf"lane|people|percent))"
    rf"(?![-/.]\d))",
    re.I,
)
