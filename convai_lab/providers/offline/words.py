"""Words: which words mean the same, and which of them carry the meaning of a sentence?

Everything here is small on purpose: a light stemmer, a list of empty words and a table of near synonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_READ_CHARS = 4000
"""How much of one text is read; the middle of a longer one is left out."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|no|nr|approx|etc|vs|e\.g|i\.e|a\.m|p\.m|inc|ltd)|\b[A-Z])\.$", re.I
)
_CHECK_IN = re.compile(r"\bcheck(?:ing)?[ -](in|out)\b", re.I)
_MARKS = re.compile(r"[\W_]{12,}")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|(?<=[。！？])|\s*\n+\s*")


def listed(text: str) -> list[str]:
    """Return the words of a list that is written as text."""
    return text.split()


STOP_WORDS = frozenset(
    listed(
        """
a about actually after again ah all also am an and any anybody anyone anything are as at back be because been
before being but by bye can cannot can't could did didn't do does doesn't doing don't each either else er erm
even ever every fine for from get gets getting give go going good got gonna had has have having he hello help
her here hers hey hi him his hmm how i i'd i'll i'm i've if in into is isn't it it's its just kindly know let
let's like look looking lot made make many may maybe me might mine mr mrs much must my myself need needs no
nope not now of off oh ok okay on one only or other our ours out over own perhaps please pls quite really
right said say says see shall she should so some somebody someone something sorry still such sure take tell
than thank thanks that that's the their them then there there's these they thing things think this those
though to told too try trying uh um up upon us use very wanna want wanted wants was we well were we're what
what's when when's where where's which while who who's whom whose why will wish with won't would wouldn't yeah
yep yes yet you you'd you'll your you're yours you've place bring come comes coming somewhere anywhere happen
happens long take takes took question ask asking guess mean wonder wondering possible possibly able today's
whether currently
"""
    )
)

_SYNONYMS = """
order parcel package shipment purchase delivery
arrive deliver delivery ship shipping shipment shipped dispatch eta arrival
status track tracking where progress
open opening hours hour close closing closed
price cost charge fee pricing expensive cheap rate tariff
pay payment card invoice bill billing charged
refund reimburse reimbursement money
return returns exchange
cancel cancellation annul
change modify update edit amend alter adjust
reschedule move postpone rebook shift
book booking reserve reservation
appointment visit slot checkup dentist doctor
table seat seating
available availability free vacancy space
address location located street situated
email mail
phone telephone call
person human someone representative operator colleague advisor
manager supervisor
complain complaint problem issue trouble wrong
broken damaged defective faulty damage
warranty guarantee
allergy allergic allergen allergies
vegan vegetarian plant
kid child children kids baby
dog pet pets dogs animal cat
park parking car garage
wifi internet wireless
discount coupon voucher promo code offer
gift present
stock available inventory
size sizes measure
account profile login
allow welcome permit permitted friendly
moment second minute
password credentials
abroad international overseas foreign country countries
weather temperature forecast rain sunny
start begin
end finish stop
buy purchase
menu food eat dish dishes meal cafe restaurant
photo photos photography picture camera
group party people guests guest
lost missing
late delayed delay overdue
store shop
callback ring
"""

_IRREGULAR = {
    "delivery": "deliver", "deliveries": "deliver", "arrival": "arriv", "cancellation": "cancel", "opened": "open",
    "reservation": "reserv", "reservations": "reserv", "availability": "availabl", "children": "child",
    "people": "peopl", "shipment": "ship", "shipments": "ship", "payment": "pay", "payments": "pay", "paid": "pay",
    "bought": "buy", "sent": "send", "told": "tell", "hours": "hour", "news": "news", "status": "status",
    "address": "address", "addresses": "address", "always": "alway", "bus": "bus", "gas": "gas", "cost": "cost",
    "cancelled": "cancel", "canceled": "cancel", "cancelling": "cancel", "canceling": "cancel", "during": "during",
    "opening": "open", "openings": "open", "closing": "clos", "closed": "clos", "parking": "park", "bring": "bring",
    "thing": "thing", "evening": "evening", "morning": "morning", "king": "king", "wedding": "wedding",
    "need": "need", "speed": "speed", "seed": "seed", "feed": "feed", "bed": "bed", "red": "red",
}  # fmt: skip

_NUMBERS = {
    word: value
    for value, word in enumerate(
        listed(
            """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
"""
        )
    )
} | {
    w: 10 * n
    for n, w in enumerate(
        listed(
            """
    twenty thirty forty fifty sixty seventy eighty ninety
"""
        ),
        start=2,
    )
}


def plain(text: str) -> str:
    """Return `text` as it is read: straight apostrophes, nothing invisible, no long runs of marks, not too long."""
    if len(text) > MAX_READ_CHARS:
        text = text[: MAX_READ_CHARS // 2] + " " + text[-MAX_READ_CHARS // 2 :]
    text = text.replace("’", "'").replace("‘", "'").replace("\u00a0", " ")
    text = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    return _MARKS.sub(lambda run: run[0][:4], text)


def words(text: str) -> list[str]:
    """Split into lower-case words; apostrophes stay inside."""
    return _WORD.findall(text.replace("’", "'").lower())


def sentences(text: str) -> list[str]:
    """Split into sentences, minding the usual abbreviations."""
    found: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if not piece or not piece.strip():
            continue
        if found and _ABBREVIATION.search(found[-1][-8:]):
            found[-1] += " " + piece.strip()
        else:
            found.append(piece.strip())
    return found


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the part of an English word that its forms share: ``shipped``, ``shipping`` and ``ships`` are one."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    word = _without_plural(word)
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = _without_doubling(word.removesuffix(suffix))
            break
    if word.endswith("ly") and len(word) > 5:
        word = word[:-2]
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


@lru_cache(maxsize=50_000)
def related(word_stem: str) -> frozenset[str]:
    """Return the stems that mean nearly the same, without the stem itself."""
    return frozenset(s for group in _GROUPS.get(word_stem, ()) for s in group if s != word_stem)


def content_stems(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, each once, in order."""
    text = _CHECK_IN.sub(r"check\1", text) if "heck" in text else text
    return list(dict.fromkeys(stem(w) for w in words(text) if w not in STOP_WORDS and (len(w) > 1 or w.isdigit())))


def likeness(wanted: str, offered: Iterable[str]) -> float:
    """Say how well one of the `offered` stems answers the `wanted` one: 1 the same, 0.7 a synonym, 0 neither."""
    pool = offered if isinstance(offered, (set, frozenset, dict)) else set(offered)
    if wanted in pool:
        return 1.0
    return 0.7 if any(other in pool for other in related(wanted)) else 0.0


def name_words(identifier: str) -> list[str]:
    """Split ``order_status``, ``orderStatus`` or ``order-status`` into its words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", identifier[:200])
    return words(spaced.replace("_", " ").replace("-", " "))


def number_in(spelled: list[str]) -> int | None:
    """Return the number that the words say (``twenty five``, ``a hundred and ten``), or None."""
    total, current, seen = 0, 0, False
    for word in spelled:
        if word in _NUMBERS:
            current, seen = current + _NUMBERS[word], True
        elif word == "hundred" and (current or not seen):
            current, seen = (current or 1) * 100, True
        elif word == "thousand":
            total, current, seen = total + (current or 1) * 1000, 0, True
        elif word == "dozen":
            current, seen = (current or 1) * 12, True
        elif word not in ("and", "a"):
            return None
    return total + current if seen else None


def is_number_word(word: str) -> bool:
    """Say whether the word can be part of a spelled number."""
    return word in _NUMBERS or word in ("hundred", "thousand", "dozen")


def digits_in(spelled: list[str]) -> str | None:
    """Return digits that were said one by one (``four three two one``, ``double five``), or None."""
    digits = ""
    times = 1
    for word in spelled:
        if word in ("double", "triple"):
            times = 2 if word == "double" else 3
        elif word in ("oh", "o") or _NUMBERS.get(word, 10) < 10:
            digits, times = digits + str(_NUMBERS.get(word, 0)) * times, 1
        elif word.isdigit():
            digits, times = digits + word * times, 1
        else:
            return None
    return digits if len(digits) >= 2 else None


def join_words(items: list[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _without_doubling(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word


def _synonym_groups() -> dict[str, list[frozenset[str]]]:
    groups: dict[str, list[frozenset[str]]] = {}
    for line in _SYNONYMS.strip().splitlines():
        group = frozenset(stem(w) for w in line.split())
        for member in group:
            groups.setdefault(member, []).append(group)
    return groups


_GROUPS = _synonym_groups()
