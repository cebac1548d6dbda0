"""Pronunciation: how is a word said that is not in the dictionary?

espeak-ng knows rules for any spelling; its phoneme names are mapped to the 39 of the acoustic model. Checked against
the dictionary's own words: see `tests/providers/test_offline_speech_domain.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKS = re.compile(r"[',%=|!]")
"""Stress and linking, which the acoustic model does not tell apart."""

_PHONES = {
    "@": "AH", "@-": "AH", "@2": "AH", "@5": "AH", "@L": "AH L", "3": "ER", "3:": "ER", "0": "AA", "0#": "AA",
    "a": "AE", "a#": "AH", "aa": "AE", "A:": "AA", "A@": "AA R", "aI": "AY", "aI@": "AY AH", "aI3": "AY ER",
    "aU": "AW", "aU@": "AW ER", "b": "B", "C": "SH", "d": "D", "D": "DH", "dZ": "JH", "e": "EH", "E": "EH",
    "E2": "EH", "e@": "EH R", "eI": "EY", "f": "F", "g": "G", "h": "HH", "i": "IY", "i:": "IY", "i::": "IY",
    "i@": "IH AH", "i@3": "IH R", "I": "IH", "I2": "IH", "I#": "IH", "j": "Y", "k": "K", "l": "L", "m": "M",
    "n": "N", "n-": "AH N", "N": "NG", "O": "AO", "O2": "AO", "O:": "AO", "O@": "AO R", "o@": "AO R", "OI": "OY",
    "oU": "OW", "p": "P", "r": "R", "r-": "R", "s": "S", "S": "SH", "t": "T", "t#": "T", "t2": "T", "T": "TH",
    "tS": "CH", "u": "UW", "u:": "UW", "U": "UH", "U@": "UH R", "v": "V", "V": "AH", "w": "W", "x": "K", "z": "Z",
    "Z": "ZH", "?": "T", ";": "", "": "",
}  # fmt: skip


def arpabet(phonemes: Sequence[str]) -> str | None:
    """Return espeak-ng's phonemes as the acoustic model's, or None when one of them is unknown or there are none.

    Example:
        >>> arpabet(["k", "'aU", "O2", "l", "k", "z", ",I", "k"])
        'K AW AO L K Z IH K'
    """
    phones: list[str] = []
    for name in phonemes:
        mapped = _PHONES.get(_MARKS.sub("", name))
        if mapped is None:
            return None
        for phone in mapped.split():
            if not (phone == "R" and phones and phones[-1] in ("R", "ER")):
                phones.append(phone)
    return _without_extra_schwa(phones)


def _without_extra_schwa(phones: list[str]) -> str | None:
    """Join: "near" is N IH R, not N IH AH R."""
    return re.sub(r"\bIH AH R\b", "IH R", " ".join(phones)) or None
