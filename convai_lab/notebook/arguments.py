"""Arguments: how is the line of a magic read?

One reader for all magics. It splits like a shell, without a shell's surprises: backslashes are ordinary characters
(Windows paths survive), quoted text is literal, a `` #`` outside quotes starts a comment. Only a whole unquoted
word or option value of the form ``{expression}`` or ``$name`` is Python, evaluated in the notebook's namespace;
``{{name}}`` is left alone, because that is a variable of a prompt.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from convai_lab.errors import ConvaiLabError

QUOTES = "\"'"

NUMBERS: Mapping[Any, str] = {int: "a whole number", float: "a number"}


class ArgumentsError(ConvaiLabError):
    """The line of a magic cannot be read; one sentence says what to write instead."""


@dataclass
class Word:
    """One word of a line; `value` is the object when the word was Python, else the text."""

    text: str
    quoted: bool = False
    start: int = 0


@dataclass(frozen=True)
class Option:
    """One option of a magic.

    `convert` turns the text into a value (a Python object given as ``{expression}`` is passed through it only when
    it is text). `repeat` collects several, `flag` takes no value, `pairs` collects ``name=value`` into a mapping.
    `choices` and the files that end in one of `files` are offered by completion.
    """

    name: str
    help: str
    convert: Callable[[str], Any] = str
    repeat: bool = False
    flag: bool = False
    pairs: bool = False
    value_name: str = ""
    choices: Sequence[str] | Callable[[], Sequence[str]] = ()
    files: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return the name of the attribute that holds the value."""
        return self.name.lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Magic:
    """How one magic is called: its words, options and examples, for parsing, ``--help`` and completion.

    `positional` is one word; with `several` it is any number of them, given as a list.
    """

    name: str
    summary: str
    positional: str = ""
    positional_help: str = ""
    several: bool = False
    rest: str = ""
    rest_help: str = ""
    required: bool = True
    options: tuple[Option, ...] = ()
    examples: tuple[str, ...] = ()
    notes: str = ""

    def parse(self, line: str, namespace: Mapping[str, Any]) -> Arguments:
        """Read a line.

        Raises:
            ArgumentsError: The line cannot be read; one sentence.
        """
        return _Reader(self, namespace).read(line)

    def help(self) -> str:
        """Return the text of ``--help``."""
        usage = " ".join(part for part in (f"%{self.name}", self.positional, self.rest, "[options]") if part)
        lines = [usage.replace("%%", "%"), "", self.summary, ""]
        for name, text in ((self.positional, self.positional_help), (self.rest, self.rest_help)):
            if name:
                lines.append(f"  {name:<27} {text}")
        lines += [f"  {_shown(option):<27} {option.help}" for option in self.options]
        lines.append(f"  {'--help':<27} show this text")
        if self.notes:
            lines += ["", self.notes]
        return "\n".join([*lines, "", "Examples:", *(f"  {line}" for line in "\n".join(self.examples).split("\n"))])


@dataclass
class Arguments:
    """What a line said: `name` (the positional word), `rest` (the free text after it) and the options."""

    name: Any = None
    rest: str = ""
    wants_help: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, key: str) -> Any:
        return self.values.get(key)


def split(line: str, *, free_text: bool = False) -> list[Word]:
    """Split a line into words; see the rules at the top of this module.

    With `free_text`, as for a chat message, a comment needs a space after its ``#``, so that ``order #1234`` survives.

    Raises:
        ArgumentsError: A quote or a brace is not closed.

    Example:
        >>> [word.text for word in split('support --var city="New York" # a comment')]
        ['support', '--var', 'city=New York']
    """
    words: list[Word] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == "#" and (not free_text or line[at + 1 : at + 2] in ("", " ")):
            break
        else:
            word, at = _read_word(line, at)
            words.append(word)
    return words


def _read_word(line: str, at: int) -> tuple[Word, int]:
    word = Word("", start=at)
    while at < len(line) and not line[at].isspace():
        if line[at] in QUOTES and (not word.text or word.text[-1] in "=," or word.quoted):
            end = line.find(line[at], at + 1)
            if end < 0:
                raise ArgumentsError(
                    f"a quote is not closed: {_shorten(line[at:])} (an apostrophe inside text needs double quotes "
                    "around the text)"
                )
            word.text, word.quoted, at = word.text + line[at + 1 : end], True, end + 1
        elif line[at] == "{" and _starts_expression(line, at, word):
            end = _matching_brace(line, at)
            word.text, at = word.text + line[at : end + 1], end + 1
        else:
            word.text, at = word.text + line[at], at + 1
    return word, at


def _starts_expression(line: str, at: int, word: Word) -> bool:
    return not line.startswith("{{", at) and not word.quoted and (not word.text or word.text.endswith("="))


def _matching_brace(line: str, at: int) -> int:
    depth, quote = 0, ""
    for i in range(at, len(line)):
        char = line[i]
        if quote:
            quote = "" if char == quote else quote
        elif char in QUOTES:
            quote = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if not depth:
                return i
    raise ArgumentsError(f"a brace is not closed: {_shorten(line[at:])} (put the text in quotes if it is not Python)")


class _Parser(argparse.ArgumentParser):
    """argparse that raises one sentence instead of printing a usage and leaving."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            raise ArgumentsError(f"{message.split(':')[0].removeprefix('argument ')} needs a value after it")
        if extra := message.removeprefix("unrecognized arguments: ").strip("\0") if "unrecognized" in message else "":
            raise ArgumentsError(f"{self.prog} does not take {_shorten(extra)!r}: put text with spaces in quotes")
        raise ArgumentsError(message)


class _Reader:
    """Reads one line for one magic."""

    def __init__(self, magic: Magic, namespace: Mapping[str, Any]) -> None:
        self._magic, self._namespace = magic, namespace
        self._objects: dict[str, Any] = {}

    def read(self, line: str) -> Arguments:
        words = split(line, free_text=bool(self._magic.rest))
        if any(word.text in ("--help", "-h") and not word.quoted for word in words):
            return Arguments(wants_help=True)
        words, rest = self._cut_rest(words)
        for word in words:
            self._refuse_unknown_option(word)
        parsed = self._parser().parse_intermixed_args([self._stand_in(word) for word in words])
        return self._arguments(parsed, rest)

    def _cut_rest(self, words: list[Word]) -> tuple[list[Word], str]:
        """Separate free text: all words after the positional one that belong to no option."""
        if not self._magic.rest:
            return words, ""
        ours: list[Word] = []
        free: list[str] = []
        named = taking = False
        for word in words:
            is_option = word.text.startswith("--") and not word.quoted
            if named and not is_option and not taking:
                free.append(word.text)
                continue
            ours.append(word)
            named = named or not (is_option or taking)
            taking = is_option and "=" not in word.text and self._takes_value(word.text)
        return ours, " ".join(free)

    def _takes_value(self, text: str) -> bool:
        return any(option.name == text and not option.flag for option in self._magic.options)

    def _refuse_unknown_option(self, word: Word) -> None:
        name = word.text.split("=", 1)[0]
        known = [option.name for option in self._magic.options]
        if word.quoted or not name.startswith("--") or name in known:
            return
        longer = [option for option in known if option.startswith(name)]
        close = longer or difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"%{self._magic.name} --help lists them"
        raise ArgumentsError(f"%{self._magic.name} has no option {name}: {hint}")

    def _stand_in(self, word: Word) -> str:
        """Return the text for argparse; Python objects travel as a mark that is resolved afterwards."""
        if word.quoted:
            return self._keep(word.text) if "=" not in word.text or word.text.startswith("-") else word.text
        head, equals, tail = (
            word.text.rpartition("=") if "={" in word.text or "=$" in word.text else ("", "", word.text)
        )
        source = _python_source(tail)
        if source is None:
            return word.text
        return head + equals + self._keep(self._evaluate(source))

    def _keep(self, value: Any) -> str:
        mark = f"\0{len(self._objects)}\0"
        self._objects[mark] = value
        return mark

    def _evaluate(self, source: str) -> Any:
        try:
            return eval(source, dict(self._namespace))  # noqa: S307 - the notebook's own code, written in its cell
        except Exception as error:
            raise ArgumentsError(
                f"{{{_shorten(source)}}} is Python here and failed with {type(error).__name__}: {error} "
                "(put the text in quotes if it is not Python)"
            ) from None

    def _parser(self) -> _Parser:
        parser = _Parser(prog=f"%{self._magic.name}", add_help=False, allow_abbrev=False)
        if self._magic.positional:
            parser.add_argument("name", nargs="*" if self._magic.several else "?", metavar=self._magic.positional)
        for option in self._magic.options:
            if option.flag:
                parser.add_argument(option.name, dest=option.key, action="store_true", default=None)
            else:
                action = "append" if option.repeat or option.pairs else "store"
                parser.add_argument(option.name, dest=option.key, action=action, metavar=option.value_name)
        return parser

    def _arguments(self, parsed: argparse.Namespace, rest: str) -> Arguments:
        given = getattr(parsed, "name", None)
        name = [self._resolve(word) for word in given or ()] if self._magic.several else self._resolve(given)
        if name in (None, []) and self._magic.positional and self._magic.required:
            raise ArgumentsError(
                f"%{self._magic.name} needs {self._magic.positional}: {self._magic.positional_help}, "
                f"for example {self._magic.examples[0].splitlines()[0]}"
            )
        values = {option.key: self._value(option, getattr(parsed, option.key)) for option in self._magic.options}
        return Arguments(name=name, rest=rest, values={key: v for key, v in values.items() if v is not None})

    def _value(self, option: Option, given: Any) -> Any:
        if given is None or option.flag:
            return given
        if option.pairs:
            return dict(self._pair(option, text) for text in given)
        if option.repeat:
            return [self._convert(option, self._resolve(text)) for text in given]
        return self._convert(option, self._resolve(given))

    def _pair(self, option: Option, text: str) -> tuple[str, Any]:
        name, equals, value = str(self._resolve(text)).partition("=")
        if not equals or not name.strip():
            raise ArgumentsError(f"{option.name} takes name=value, not {_shorten(text)}")
        return name.strip(), self._convert(option, self._resolve(value))

    def _convert(self, option: Option, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return option.convert(value)
        except (ValueError, TypeError) as error:
            wanted = NUMBERS.get(option.convert)
            told = f"it takes {wanted}" if wanted else error
            raise ArgumentsError(f"{option.name}: {_shorten(value)} is not right: {told}") from None

    def _resolve(self, text: Any) -> Any:
        return self._objects.get(text, text) if isinstance(text, str) else text


def _python_source(text: str) -> str | None:
    if text.startswith("{") and text.endswith("}") and not text.startswith("{{") and len(text) > 2:
        return text[1:-1].strip()
    if text.startswith("$") and text[1:].isidentifier():
        return text[1:]
    return None


def _shown(option: Option) -> str:
    value = option.value_name or ("" if option.flag else option.key.upper())
    return f"{option.name} {value}".rstrip()


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
