"""Completion: what can follow what is written so far?"""

from __future__ import annotations

from collections.abc import Sequence

from convai_lab.notebook.arguments import Magic, Option


def complete(magic: Magic, line: str, *, agent_names: Sequence[str] = ()) -> list[str]:
    """Return the words that may stand at the end of `line`: agent names, options, or values of an option.

    Example:
        >>> from convai_lab.notebook.magics import AGENT
        >>> complete(AGENT, "%agent su", agent_names=["support", "booking"])
        ['support']
    """
    words = line.split()[1:]
    started = "" if not line or line[-1].isspace() else (words.pop() if words else "")
    options = {option.name: option for option in magic.options}
    before = options.get(words[-1]) if words else None
    if before is not None and not before.flag:
        candidates = _values(before)
    elif started.startswith("-"):
        candidates = [*options, "--help"]
    elif magic.positional and not _named(words, options):
        candidates = [name for name in agent_names if " " not in name] or list(options)
    else:
        candidates = [*options, "--help"]
    return [text for text in candidates if text.startswith(started)]


def _values(option: Option) -> list[str]:
    return list(option.choices() if callable(option.choices) else option.choices)


def _named(words: Sequence[str], options: dict[str, Option]) -> bool:
    taking = False
    for word in words:
        if taking:
            taking = False
        elif word in options:
            taking = not options[word].flag
        elif not word.startswith("--"):
            return True
    return False
