"""Filler: what does any caller of any agent say, whatever the agent is for?

These sentences are mixed into every domain language model; the domain's own phrases count more, and numbers less:
there are many of them here, and noise sounds like "five" to a recogniser that expects digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

LEAST_CODE = 3
"""So many digits in a row are a code: another caller has another one."""
_SENTENCES = """
yes
no
yeah
yep
nope
okay
ok
sure
right
correct
maybe
yes please
no thanks
no thank you
yes that is right
yes that's right
that is correct
that's correct
that is wrong
that's wrong
not really
of course
all right
sounds good
hello
hi
hi there
hey
good morning
good afternoon
good evening
goodbye
bye
bye bye
thank you
thanks
thanks a lot
thank you very much
thank you goodbye
you are welcome
please
sorry
excuse me
can you help me
can you help me with something
i need help
i need some help
i need some help with
i have a question
i have a problem
i have a problem with
could you repeat that
could you repeat that please
please repeat that
can you say that again
say that again
what did you say
i don't understand
i do not understand
i don't know
i am not sure
i'm not sure
wait
wait a moment
one moment please
just a moment
hold on
stop
cancel
cancel that
start over
go back
never mind
speak to a human
i want to speak to a human
i want to talk to a person
can i speak to an agent
what can you do
who are you
what is your name
how are you
i'm fine thank you
my name is
i am
i would like to
i'd like to
i would like
i want to
i want
i need to
i need
i am calling about
i'm calling about my
can i
can i get
can i have
could i
could you
can you
do you have
is there
are there
tell me about
let me
how much is it
how much does it cost
how long does it take
how do i
what is
what is the
what time is it
what time
when
when is
where is
where is my
where
why
who
how many
today
tomorrow
tonight
next week
this week
in the morning
in the afternoon
in the evening
at noon
on monday
on tuesday
on wednesday
on thursday
on friday
on saturday
on sunday
monday tuesday wednesday thursday friday saturday sunday
the first
the second
the third
that is all
that's all
that is all for now
nothing else
that will be all
for one
for two people
for four
at seven
at eight p m
at nine a m
at half past
two thirty p m
seven thirty
quarter past
the number is
my number is
my order number is
my phone number is
my email is
"""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "hundred",
    "thousand",
)


def everyday_sentences() -> list[str]:
    """Return what everybody says, in lower case."""
    return [sentence for sentence in _SENTENCES.split("\n") if sentence]


def codes_in(words: Sequence[str]) -> list[range]:
    """Return where codes stand in a sentence: digits in a row."""
    found, start = [], 0
    for at, word in enumerate([*words, ""]):
        if word not in _DIGITS:
            if at - start >= LEAST_CODE:
                found.append(range(start, at))
            start = at + 1
    return found


def with_other_codes(words: Sequence[str], *, steps: int = 10) -> Iterator[list[str]]:
    """Yield the sentence with other codes of the same length; in ten `steps` every digit comes after every other."""
    places = [place for code in codes_in(words) for place in code]
    for first in range(10 if places else 0):
        for step in range(1, steps + 1):
            other = list(words)
            for number, place in enumerate(places):
                other[place] = _DIGITS[(first + step * number) % 10]
            yield other


def number_sentences() -> list[str]:
    """Return numbers as they are read out; every digit comes after every other, also in runs of three."""
    said = [row for tens in _TEENS for row in tens.split()]
    for first in range(10):
        said += [" ".join(_DIGITS[(first + step * place) % 10] for place in range(3)) for step in range(10)]
        said.append(f"{_DIGITS[first]} oh {_DIGITS[first]}")
    for tens in _TEENS[1].split():
        said += [f"{tens} {unit}" for unit in _DIGITS[1:]]
    return said + [f"{unit} hundred" for unit in _DIGITS[1:]]
