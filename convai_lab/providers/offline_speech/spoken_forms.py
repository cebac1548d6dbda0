"""Spoken forms: which words does somebody say who reads a phrase out?

A recogniser knows words, not digits and signs: "Order #1234 at 2:30 pm" is heard as "order number one two three
four at two thirty p m".
"""

from __future__ import annotations

import re
import unicodedata

MAX_FORMS = 3
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_CLOCK_WORDS = {*_ONES, *_TENS}
_SIGNS = {"&": " and ", "+": " plus ", "%": " percent ", "@": " at ", "#": " number ", "=": " equals "}
_MONEY = {"$": ("dollar", "dollars"), "€": ("euro", "euros"), "£": ("pound", "pounds")}
_TOKEN = re.compile(
    r"(?P<money>[$€£])\s?(?P<amount>\d[\d,]*)(?:\.(?P<cents>\d\d))?"
    r"|(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"|(?P<ordinal>\d{1,4})(?:st|nd|rd|th)\b"
    r"|(?P<number>\d+(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?"
    r"|(?P<word>[a-z]+(?:'[a-z]+)*'?)"
    r"|(?P<sign>[&+%@#=])"
)


def spoken_forms(phrase: str) -> list[str]:
    """Return the ways to say a phrase, in lower-case words; none when there is nothing to say in it.

    Example:
        >>> spoken_forms("Order #12, please!")
        ['order number twelve please', 'order number one two please']
    """
    plain = _plain(phrase)
    forms = {" ".join(_words(plain, style)): None for style in ("natural", "digits", "pairs")}
    return [form for form in forms if form][:MAX_FORMS]


def _plain(phrase: str) -> str:
    """Fold case, accents and typographic signs: the dictionary is American English in ASCII."""
    folded = unicodedata.normalize("NFKD", phrase.replace("’", "'").replace("‘", "'")).casefold()
    bare = "".join(c for c in folded if not unicodedata.combining(c))
    return re.sub(r"\b([a-z])\.(?=[a-z]\b|\W|$)", r"\1 ", bare.replace("-", " ").replace("_", " "))


def _words(plain: str, style: str) -> list[str]:
    said: list[str] = []
    for token in _TOKEN.finditer(plain):
        if word := token["word"]:
            said += list(word) if word in ("am", "pm") and said and said[-1] in _CLOCK_WORDS else [word]
        elif token["money"]:
            said += _money(token["money"], token["amount"], token["cents"])
        elif token["hour"]:
            said += _clock_time(int(token["hour"]), token["minute"])
        elif token["ordinal"]:
            said += _ordinal(int(token["ordinal"]))
        elif token["number"]:
            said += _number(token["number"].replace(",", ""), style)
            said += ["point", *_digits(token["decimals"])] if token["decimals"] else []
        else:
            said += _SIGNS[token["sign"]].split()
    return said


def _number(digits: str, style: str) -> list[str]:
    """Say a number as a quantity, digit by digit, or (1984) in pairs; long ones are always read out."""
    if style == "digits" or len(digits) > 6 or (len(digits) > 1 and digits[0] == "0"):
        return _digits(digits)
    if style == "pairs" and len(digits) == 4 and digits[2] != "0":
        return [*_quantity(int(digits[:2])), *_quantity(int(digits[2:]))]
    return _quantity(int(digits))


def _digits(digits: str) -> list[str]:
    return [_ONES[int(digit)] for digit in digits]


def _quantity(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *(_quantity(number % 10) if number % 10 else [])]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = _quantity(number % size) if number % size else []
            return [*_quantity(number // size), name, *rest]
    raise AssertionError(number)


def _ordinal(number: int) -> list[str]:
    *before, last = _quantity(number)
    named = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return [*before, named]


def _clock_time(hour: int, minute: str) -> list[str]:
    if minute == "00":
        return _quantity(hour)
    return [*_quantity(hour), *(["oh", _ONES[int(minute)]] if minute[0] == "0" else _quantity(int(minute)))]


def _money(sign: str, amount: str, cents: str | None) -> list[str]:
    digits = amount.replace(",", "")
    one, many = _MONEY[sign]
    said = [*_number(digits, "natural"), one if digits == "1" else many]
    return [*said, *_quantity(int(cents))] if cents and cents != "00" else said
