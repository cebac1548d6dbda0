"""Acts: what is the caller doing with these words, whatever they are about?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from convai_lab.providers.offline.words import content_stems, listed, plain, sentences, words

_SOCIAL = {
    "greeting": r"^(?:\W*(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|howdy)\b[\s,.!]*)+",
    "thanks": r"\b(?:thank you|thanks|thank u|thx|cheers|much appreciated|many thanks|i appreciate it)\b",
    "goodbye": r"\b(?:good ?bye|bye(?:[ -]?bye)?|see you(?: later| soon)?|have a (?:nice|good|great) (?:day|"
    r"one|evening|"
    r"weekend)|talk to you later|that(?:'s| is| was| will be) (?:all|everything|it)(?: for (?:now|today|"
    r"me))?\s*[.,!]*|"
    r"that'll be all|nothing else|you can hang up|hang up|end the call|i(?:'m| am) done|i have to go|"
    r"gotta go)(?!\w)",
    "yes": r"^\W*(?:yes|yeah|yep|yup|sure|ok(?:ay)?|correct|right|exactly|of course|absolutely|definitely|"
    r"certainly|please do|"
    r"go ahead|do it|that's (?:right|correct|fine)|sounds good|perfect|fine|i do|please)\b",
    "no": r"^\W*(?:no|nope|nah|not (?:really|now|yet|today)|never ?mind|don't|no,? thank(?:s| you)|"
    r"that's (?:not right|wrong)|"
    r"wrong|incorrect|forget (?:it|about it))\b",
    "wait": r"\b(?:hold on|hang on|wait|one (?:moment|second|sec|minute)|just a (?:moment|second|sec|minute)|"
    r"give me a "
    r"(?:moment|second|sec|minute)|let me (?:check|look|see|find|get)|bear with me|un momento)\b",
    "person": r"\b(?:(?:speak|talk|connect|transfer|put|get|escalate|pass|hand|switch)\b.{0,40}\b(?:human|"
    r"person|people|agent|"
    r"representative|rep|operator|someone|somebody|manager|supervisor|colleague|staff|employee|human being|"
    r"real one)|"
    r"(?:real|actual|live|human) (?:person|human|agent|being|operator)|(?:want|need|get me|give me) (?:a|an|"
    r"the|your) "
    r"(?:human|person|agent|representative|operator|manager|supervisor)|^\W*(?:human|operator|representative|"
    r"agent)\W*$)",
    "about_itself": r"\b(?:are you|is this|am i (?:talking|speaking) (?:to|with)|you(?:'re|"
    r" are)(?: just)? an?)\b.{0,30}\b(?:ai|a\.i|bot|"
    r"robot|machine|human|real(?: person)?|computer|language model|llm|chat ?gpt|recording|automated|alive)\b|"
    r"\b(?:which|what)\b.{0,20}\b(?:model|llm|ai)\b.{0,20}\b(?:are|is|you|this|using|running|powered)|"
    r"\bmodel are you\b",
    "who": r"\b(?:who are you|what(?:'s| is) your name|your name\?|who am i (?:talking|speaking) (?:to|with)|"
    r"who is this|"
    r"introduce yourself|who do i have)\b",
    "abilities": r"\b(?:what (?:can|do) you do(?: for me)?|what can i ask|how can you help|what can you help|"
    r"what are you able|what do you offer help|what are my options)\b|^\W*help\W*$",
    "how_are_you": r"\bhow(?:'s it going| are you| do you do|'s your day| is your day)\b",
    "repeat": r"\b(?:(?:say|repeat) (?:that|it|this)(?: again)?|say again|come again|pardon|"
    r"what did you (?:just )?say|can you repeat|could "
    r"you repeat|repeat please|i (?:didn't|did not|couldn't) (?:hear|catch|get|understand)(?: (?:that|you|it))?)\b|"
    r"^\W*(?:sorry|what|huh|excuse me)\s*\?+\W*$",
    "unsure": r"\b(?:i (?:don't|do not) (?:know|have|remember|recall)|(?:i )?don't (?:know|have) (?:it|that|"
    r"one|any)|no idea|not sure|"
    r"i(?:'ve| have)? (?:forgot|forgotten|lost)|can't (?:find|remember)|cannot (?:find|remember)|don't remember)\b",
    "upset": r"\b(?:ridiculous|unacceptable|terrible|horrible|awful|angry|furious|frustrat\w+|annoy\w+|worst|"
    r"useless|"
    r"disappoint\w+|fed up|sick of|scandal|outrageous|joke|disgrace\w*|pathetic|incompetent|stupid|damn|hell|wtf|"
    r"complain|waited (?:for )?\w+ (?:days|weeks|hours)|third time|second time|still (?:not|hasn't|haven't|"
    r"waiting))\b",
    "correction": r"^\W*(?:no|nope|actually|sorry|wait|oh|i mean|i meant|correction|not)\b[\s,.]*|"
    r"\b(?:i meant?|i misspoke|make that|"
    r"make it|rather|instead|scratch that|change that to|correction|not \S+ but|it's actually|should be)\b",
    "again": r"\b(?:again|once more|re-?check|check it|refresh|another look|any (?:news|update)|now\?|retry|"
    r"try again|double[- ]check)",
    "other": r"\b(?:another|other|different|second|new|next|else)\b",
    "voicemail": r"\b(?:after the (?:tone|beep)|leave (?:a|your) message|record your message|"
    r"voice ?mail(?:box)?)\b",
    "keypad": r"\bpress(?:ing)? (?:\d|one|two|three|four|five|six|seven|eight|nine|zero|star|pound)\b",
}  # fmt: skip
_SOCIAL_COMPILED = {name: re.compile(pattern, re.I) for name, pattern in _SOCIAL.items()}

_INJECTION = re.compile(
    r"\b(?:(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instructions?|rules?|prompts?|guidelines?|"
    r"guardrails?|"
    r"above|previous|prior|training|everything)|system prompt|(?:your|the|hidden|initial|original|"
    r"secret) (?:system )?"
    r"(?:instructions?|prompt)\b|(?:reveal|print|show|repeat|output|dump)\b.{0,30}\b(?:prompt|instructions?|"
    r"rules|verbatim|"
    r"everything above)|you are now|from now on you|new instructions?|pretend (?:to be|you)|act as (?:if|an?|my)|"
    r"developer mode|jailbreak|\bDAN\b|do anything now|admin(?:istrator)? (?:mode|override|access)|role ?play as)|"
    r"<\|?(?:system|im_start|endoftext)|\[(?:system|inst)\]|^\s*(?:system|assistant|developer)\s*:",
    re.I,
)
_QUESTION = re.compile(
    r"\?|^\W*(?:(?:and|but|so|also|well|ok|okay|um|uh|hi|hello|please|sorry)\W+)*(?:what|when|where|which|who|"
    r"whose|why|how|"
    r"is|are|was|were|do|does|did|can|could|will|would|should|may|have|has)\b",
    re.I,
)
_REQUEST = re.compile(
    r"\b(?:can|could|would|will) you\b|\bi(?:'d| would) like\b|\bi (?:want|need|wanna)\b|\bplease\b|\blet's\b|"
    r"\bi(?:'m| am) "
    r"(?:calling|trying|looking) (?:to|for)\b|\bcan i\b|\bcould i\b|\bmay i\b|\bhelp me\b",
    re.I,
)
_LANGUAGES = {
    "english": "en", "german": "de", "deutsch": "de", "french": "fr", "français": "fr", "francais": "fr",
    "spanish": "es", "español": "es", "espanol": "es", "italian": "it", "italiano": "it", "portuguese": "pt",
    "português": "pt", "dutch": "nl", "nederlands": "nl", "polish": "pl", "polski": "pl", "swedish": "sv",
    "danish": "da", "norwegian": "no", "finnish": "fi", "turkish": "tr", "russian": "ru", "ukrainian": "uk",
    "arabic": "ar", "hindi": "hi", "japanese": "ja", "chinese": "zh", "mandarin": "zh", "korean": "ko", "czech": "cs",
    "greek": "el", "hungarian": "hu", "romanian": "ro", "indonesian": "id", "vietnamese": "vi",
}  # fmt: skip
_LANGUAGE_REQUEST = re.compile(
    r"\b(?:speak|talk|switch|change|continue|go on|in|prefer|use|sprechen|habla\w*|parlez|parlare|parla)\b", re.I
)
_FOREIGN = {
    "German": "ich nicht ist das der die und wo meine mein bitte guten tag danke wann können haben bestellung sie mit",
    "French": "je ne pas est le la les et où mon ma bonjour merci quand pouvez vous avez commande une s'il",
    "Spanish": "yo no es el la los dónde donde está mi hola gracias cuándo puede tengo pedido una por favor quiero",
    "Italian": "io non è il la dove mio mia ciao grazie quando può ho ordine una per favore vorrei buongiorno",
    "Portuguese": "eu não é o a onde meu minha olá obrigado quando pode tenho pedido uma por favor quero está",
    "Dutch": "ik niet is het de waar mijn hallo bedankt wanneer kunt heb bestelling een alstublieft goedemorgen",
}
_FOREIGN_WORDS = {language: frozenset(text.split()) for language, text in _FOREIGN.items()}
_ENGLISH = frozenset(
    listed(
        """
    the is are my i you it and to of where when what how can could please want need have with for on in
    me order do not does will would a an this that your we no
"""
    )
)


@dataclass(frozen=True)
class Said:
    """What the caller said, and which acts it holds; `text` is without what tried to give orders to the agent."""

    text: str
    acts: frozenset[str]
    stems: tuple[str, ...]
    is_question: bool = False
    is_request: bool = False
    injected: bool = False
    language_wanted: str = ""
    foreign: str = ""
    parts: tuple[str, ...] = field(default=())

    def __contains__(self, act: str) -> bool:
        return act in self.acts

    @property
    def is_only_social(self) -> bool:
        """Say whether nothing is left beside greeting, thanking and the like."""
        return not self.stems


def read_said(text: str) -> Said:
    """Read one message of the caller."""
    whole = plain(text)
    parts = sentences(whole)
    clean = [part for part in parts if not _INJECTION.search(part)]
    kept = " ".join(clean)
    acts = frozenset(name for name, pattern in _SOCIAL_COMPILED.items() if pattern.search(kept))
    return Said(
        text=kept,
        acts=acts,
        stems=tuple(content_stems(_without_social(kept))),
        is_question=any(_QUESTION.search(part) for part in clean),
        is_request=bool(_REQUEST.search(kept)),
        injected=len(clean) < len(parts),
        language_wanted=_language_wanted(kept),
        foreign=_foreign_language(kept),
        parts=tuple(clean),
    )


@lru_cache(maxsize=512)
def without_orders(text: str) -> str:
    """Return a text without the sentences that try to give orders to the agent."""
    return " ".join(part for part in sentences(plain(text)) if not _INJECTION.search(part))


def holds_orders(text: str) -> bool:
    """Say whether a text tries to give orders to the agent (a prompt injection)."""
    return bool(_INJECTION.search(text))


def _without_social(text: str) -> str:
    for act in ("greeting", "thanks", "goodbye", "how_are_you", "wait", "upset", "repeat"):
        text = _SOCIAL_COMPILED[act].sub(" ", text)
    return text


def _language_wanted(text: str) -> str:
    if not _LANGUAGE_REQUEST.search(text):
        return ""
    return next((_LANGUAGES[w] for w in words(text) if w in _LANGUAGES), "")


def _foreign_language(text: str) -> str:
    said = words(text)[:60]
    english = sum(w in _ENGLISH for w in said)
    counts = {language: sum(w in known for w in said) for language, known in _FOREIGN_WORDS.items()}
    language = max(counts, key=lambda name: counts[name])
    if counts[language] > english and (counts[language] >= 2 or (len(said) <= 2 and counts[language])):
        return language
    letters = [c for c in text if c.isalpha()]
    return "that language" if letters and sum(ord(c) > 0x24F for c in letters) > len(letters) / 2 else ""
