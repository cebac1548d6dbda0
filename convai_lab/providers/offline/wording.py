"""Wording: is a sentence of a prompt an instruction or a fact, and how is it said to the caller?"""

from __future__ import annotations

import re

from convai_lab.providers.offline.words import listed

_AGENT_VERBS = frozenset(
    listed(
        """
    acknowledge act address adhere adopt aim always answer apologise apologize ask assist assume avoid be
    begin behave book calculate call check clarify close collect complete confirm consider continue
    create deflect deliver describe detect determine do don't double empathise encourage end ensure
    escalate explain express figure find finish focus follow gather get give greet guide handle hang help
    hand identify if ignore inform introduce keep lead let limit listen log look maintain make mention
    move never note obtain offer only open pause place please prioritise prioritize proceed promise
    provide reassure recommend record redirect refer refuse reject remember repeat reply request respond
    return route say schedule search show sound speak stay start state stick suggest summarise summarize
    take talk tell thank then think transfer treat try under understand update use validate verify wait
    warn welcome when work write
"""
    )
)
_STRICT_VERBS = frozenset(
    listed(
        """
    acknowledge act adhere always answer apologise apologize ask avoid be clarify confirm do don't ensure
    escalate explain gather greet identify ignore inform introduce keep maintain make mention never offer
    only promise refer refuse remember repeat reply respond say speak stay suggest summarise summarize
    tell thank transfer verify
"""
    )
)
_FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|cannot|can't|may|will|must|do|does|don't|doesn't|takes?|opens?|closes?|"
    r"costs?|ships?|delivers?|arrives?|starts?|ends?|includes?|comes?|goes|needs?|offers?|accepts?|serves?|"
    r"sells?|runs?|"
    r"lasts?|stays?|applies|apply|covers?|expires?|works?|lies|lives|charges?|gets?|requires?|speaks?|"
    r"repairs?|seats?)\b",
    re.I,
)
_OF_AGENT = re.compile(
    r"^(?:you(?:'re|r)?|act as|i am|i'm|my name|the (?:agent|assistant)|this agent|as (?:an?|the) )\b|"
    r"\b(?:you (?:are|should|must|speak|work|help|answer|always|never|will|know|talk|respond|need to|have to|"
    r"do not|"
    r"don't|sound|use)|your (?:role|job|goal|task|tone|style|name|personality|answers?|replies|responses?))\b",
    re.I,
)
_TO_CUSTOMER_IN_KNOWLEDGE = re.compile(r"^you (?:can|may|will|need|have|do not|don't|get|must)\b|^your\b", re.I)
_OF_CALLER = re.compile(r"\b(?:the |an? |every |each )?(caller|customer|user|guest|client|patient)s?\b", re.I)
_CALLERS = r"(?:caller|customer|user|guest|client|patient)"
_CONDITION = re.compile(
    r"^(?:if|when|whenever)\s+(?P<when>.{3,160}?),\s*(?:then\s+)?(?:please\s+)?(?:you\s+(?:can|should|may|"
    r"must)\s+)?"
    r"(?P<verb>say|tell|ask|advise|explain|answer|reply|inform|respond|let)\b\s*(?:to\s+)?"
    r"(?:(?:them|the (?:caller|customer|user|guest|client|patient)|him or her)\b\s*)?(?:know\s+)?"
    r"(?:that\b|with\b|:)?\s*(?P<what>.{6,})$",
    re.I | re.S,
)
_NOT_TO_BE_SAID = re.compile(
    r"^(?:to|about|how|why|what|when|where|whether|if|and|so|politely|briefly|honestly)\b", re.I
)
_FORBIDDEN = re.compile(
    r"^(?:please\s+)?(?:you\s+)?(?:must\s+|should\s+|may\s+|can\s+|will\s+)?"
    r"(?:never|do not|don't|don’t|cannot|can't|can’t|not|mustn't|are not (?:able|allowed) to|avoid|"
    r"refuse to)\s+(?P<act>.+)$",
    re.I,
)
_MANNER = re.compile(
    r"\b(?:calm|friendly|helpful|polite|professional|patient|warm|kind|cheerful|empathetic|attentive|"
    r"courteous|concise|"
    r"witty|caring|experienced|knowledgeable|energetic|relaxed|upbeat|efficient|careful|honest|precise|gentle|"
    r"enthusiastic|virtual|brief|short-spoken|quick)\b(?:\s*(?:,|and|but)\s*|\s+)",
    re.I,
)
_ASKING = re.compile(
    r"\b(?:ask(?:\s+(?:the\s+)?(?:caller|customer|user|guest|client|patient|them))?\s+(?:for|about)|collect|gather|"
    r"find out|get|obtain|note down|take)\s+(?P<what>(?:the|their|his|her|an?|your|which|what|how|when|"
    r"where)\s[^.;:!?]+?)(?=[.;:!?]|,? (?:and )?then\b|$)",
    re.I,
)


def unmarked(line: str) -> str:
    """Return a line without Markdown: bullets, emphasis, links, tags and table bars."""
    text = line.strip()
    if text.startswith("|") and text.endswith("|") and len(text) > 2:
        cells = [c.strip() for c in text.strip("|").split("|")]
        text = ": ".join([cells[0], ", ".join(c for c in cells[1:] if c)]) if any(c.strip("-: ") for c in cells) else ""
    text = re.sub(r"^(?:[-*•+]|>|\d{1,2}[.)](?!\d))\s+", "", text)
    text = re.sub(r"\[([^\]]{0,300})\]\([^)]{0,300}\)", r"\1", text)
    text = re.sub(r"<[^<>]{0,100}>", "", text)
    return re.sub(r"\*\*|__|`+|~~|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", "", text).strip()


def heading_of(line: str) -> str | None:
    """Return the title when a line is a heading of any common kind; a closing tag is an empty one."""
    if match := re.match(r"#{1,6}\s*(.+?)\s*#*$", line):
        return match.group(1)
    if match := re.match(r"</?([\w -]{2,40})>$", line):
        return "" if line.startswith("</") else match.group(1).replace("_", " ")
    if match := re.match(r"(?:\*\*|__)([^*_?.]{2,60}?):?(?:\*\*|__):?$", line):
        return match.group(1)
    if match := re.match(r"([A-Z][\w ,&/-]{2,40}):$", line):
        return match.group(1)
    return None


def told_when_asked(sentence: str) -> tuple[str, str] | None:
    """Split ``If they ask about X, say that Y`` into the condition and what is to be said."""
    match = _CONDITION.match(sentence)
    if not match:
        return None
    what = match["what"].strip().strip("\"'“”‘’")
    if match["verb"].lower() in ("tell", "ask", "advise") and what.lower().startswith("to "):
        return match["when"], f"please {what[3:]}"
    if _NOT_TO_BE_SAID.match(what) or len(what.split()) < 3 or not _FINITE.search(what):
        return None
    return match["when"], what


def forbidden_act(sentence: str) -> str | None:
    """Return what must not be done, as ``promise refunds`` from ``Never promise refunds.``"""
    match = _FORBIDDEN.match(sentence.strip())
    if not match:
        return None
    act = re.split(
        r"[;:]|,? (?:unless|but|because|even|instead|and never|or)\b", match["act"].rstrip(".! "), maxsplit=1
    )[0]
    act = re.sub(rf"\b(?:the|an?) {_CALLERS}'s\b", "your", act, flags=re.I)
    act = re.sub(rf"\b(?:the|an?) {_CALLERS}\b", "you", act, flags=re.I)
    return re.sub(r"\s+", " ", act).strip() or None


def is_fact(sentence: str, *, in_knowledge: bool) -> bool:
    """Say whether a sentence of a knowledge section, or of text without headings, may be read out."""
    first = sentence.split(maxsplit=1)[0].lower().strip(",.:;\"'")
    if in_knowledge:
        if first in _STRICT_VERBS and not _FINITE.search(sentence.split(maxsplit=1)[-1]):
            return False
        return first not in _STRICT_VERBS and (not _OF_AGENT.search(sentence) or _is_to_customer(sentence))
    return is_plain_fact(sentence)


def is_plain_fact(sentence: str) -> bool:
    """Say whether a sentence outside the knowledge states something about the world, not about the agent."""
    first = sentence.split(maxsplit=1)[0].lower().strip(",.:;\"'")
    is_order = first in _AGENT_VERBS and not _NOUN_FIRST.match(sentence)
    if is_order or _OF_AGENT.search(sentence) or sentence.endswith(("?", ":")):
        return False
    if _OF_CALLER.search(sentence) and not re.match(r"(?:customers|guests|clients|patients|members)\b", sentence, re.I):
        return False
    return bool(_FINITE.search(sentence)) and len(sentence.split()) >= 3


def to_caller(sentence: str) -> str:
    """Return a fact as it is said to the caller: ``Customers can ...`` becomes ``You can ...``."""
    text = sentence.strip().strip('"“”')
    text = _OF_CUSTOMERS.sub("your", text)
    text = _ONE_CUSTOMER.sub(lambda m: "you " + _PLURAL.get(m[1].lower(), m[1]), text)
    text = _MANY_CUSTOMERS.sub("You", text)
    text = re.sub(r"\s+", " ", text).strip()
    return finished(text)


def finished(text: str) -> str:
    """Return text that starts with a capital and ends with a full stop."""
    text = text.strip().rstrip(",;:")
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…。！？" else ".")


def without_manner(role: str) -> str:
    """Return a role without how it is to be played: ``a calm support agent`` is ``a support agent``."""
    text = re.sub(r"\s+", " ", _MANNER.sub("", role + " ")).strip()
    text = re.split(r"\s(?:who|that|which|and your|whose|named|called)\b", text)[0].strip()
    if re.fullmatch(r"(?:an?|the)", text, re.I):
        return ""
    if match := re.match(r"an?\s+(?=(.))", text, re.I):
        text = ("an " if match[1].lower() in "aeiou" else "a ") + text[match.end() :]
    return text[:100]


def things_to_ask(sentence: str) -> list[str]:
    """Return what the sentence tells the agent to ask for: ``their name``, ``the date``."""
    found: list[str] = []
    for match in _ASKING.finditer(sentence):
        determiner = "your"
        for part in _PARTS.split(_ASKING_ENDS.split(match["what"])[0]):
            thing = _THEIR.sub("your", part.strip())
            if determined := _DETERMINED.match(thing):
                determiner = determined[0]
            elif thing:
                thing = f"{determiner if determiner in ('your', 'the') else 'your'} {thing}"
            if 0 < len(thing) <= 60 and not _OF_CALLER.search(thing) and not _NO_THING.search(thing):
                found.append(thing)
    return found[:8]


def _is_to_customer(sentence: str) -> bool:
    return bool(_TO_CUSTOMER_IN_KNOWLEDGE.match(sentence))


_PLURAL = {"has": "have", "is": "are", "needs": "need", "wants": "want", "gets": "get", "pays": "pay"}
_OF_CUSTOMERS = re.compile(
    r"(?<!\w)(?:the |our |all )?(?:customer|caller|client|user)s?'s\b|"
    r"\b(?:the |our |all )?(?:customers|callers|clients|users)'(?=\s)",
    re.I,
)
_ONE_CUSTOMER = re.compile(
    r"\b(?:the |an? |our |all |every |each )?(?:customer|caller|client|user) "
    r"(has|is|needs|wants|gets|must|can|may|will|pays)\b",
    re.I,
)
_MANY_CUSTOMERS = re.compile(
    r"(?:^|(?<=[.!?] ))(?:our |all )?(?:customers|callers|clients|users|guests|patients)"
    r"(?= (?:can|may|will|must|have|need|get|are|should|pay|cannot)\b)",
    re.I,
)
_ASKING_ENDS = re.compile(
    r"\b(?:if|so that|before|because|then|unless|using|with the|and (?:confirm|say|tell|check|book|look|repeat))\b"
)
_PARTS = re.compile(r",\s*(?:and\s+)?|\s+and\s+")
_THEIR = re.compile(
    r"\b(?:(?:the |an? )?(?:caller|customer|user|guest|client|patient)'s|their|his or her|his|her)\b", re.I
)
_DETERMINED = re.compile(r"(?:your|the|an?|which|what|how|when|where)\b")
_NOUN_FIRST = re.compile(
    r"\w+(?:[ -](?:in|out|up|time|fee|hours?|desk))?\s+"
    r"(?:is|are|was|starts?|begins?|ends?|costs?|takes?|closes?|opens?)\b",
    re.I,
)
_NO_THING = re.compile(
    r"\b(?:one (?:after|by|at)|in turn|step by step|politely|care of|back|rid of)\b|^(?:the|your) (?:call|time)$"
)
