"""Which passwords are too easy to guess. Pure; lengths and dates are settings, checked in `passwords`.

No list of leaked passwords is bundled: theirs are mostly shorter than the shortest we take. What is left are long
strings of short thoughts: a common word or the product's name with digits around it, one thing over and over, a run
along the alphabet, the digits or the keyboard. The list of words is our own.
"""

import re
from enum import StrEnum

FEWEST_CHARACTERS = 5
"""Different characters in a password; fewer is a pattern, not a secret."""

SHORTEST_NAME = 3
"""A name of one or two letters is inside almost any password."""

LONGEST_RUN_SHARE = 0.6
"""How much of a password may be runs along the alphabet, the digits or the keyboard."""

SHORTEST_RUN = 4

MOST_LOOSE_LETTERS = 2
"""Letters besides common words that do not yet make a secret."""

COMMON_WORDS = frozenset(
    """
    password passwort passw0rd passphrase admin administrator root user guest test testing demo default changeme
    letmein welcome login master secret temp temporary system server database manager supervisor operator security
    auditor zhiwang grid shenzhen china beijing shanghai guangdong longgang pingshan iloveyou woaini woaiwojia
    woshishui nihao dragon monkey football baseball sunshine princess superman batman qwerty qwertyuiop asdf asdfgh
    asdfghjkl zxcvbn zxcvbnm qazwsx qazwsxedc abc abcd abcdef abcdefg hello helloworld mima wodemima guanliyuan
    wanggeyuan zhongguo shenzhenshi huawei tencent wechat weixin alibaba baidu company office government police
    spring summer autumn winter january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday
    """.split()
)

RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "!@#$%^&*()",
)

_LOOKALIKES = str.maketrans("@4301$5!7", "aaeoissit")


class Weakness(StrEnum):
    """Why a password is refused; `password_refused` carries it as `because`."""

    NAME = "contains_name"
    COMMON = "too_common"
    PATTERN = "pattern"
    USED_BEFORE = "used_before"


def weakness(password: str, *, names: tuple[str, ...]) -> Weakness | None:
    """What makes this password guessable, None where nothing of the above does."""
    folded = password.casefold()
    if any(len(name) >= SHORTEST_NAME and name.casefold() in folded for name in names):
        return Weakness.NAME
    if _is_pattern(folded):
        return Weakness.PATTERN
    return Weakness.COMMON if _is_common(folded) else None


def _is_pattern(text: str) -> bool:
    if len(set(text)) < FEWEST_CHARACTERS or _is_repetition(text):
        return True
    return _characters_in_runs(text) > LONGEST_RUN_SHARE * len(text)


def _is_repetition(text: str) -> bool:
    """Whether the text is something at most half as long, over and over, perhaps cut off at the end."""
    longest = len(text) // 2
    return any((text[:size] * (len(text) // size + 1))[: len(text)] == text for size in range(1, longest + 1))


def _characters_in_runs(text: str) -> int:
    found, position = 0, 0
    while position < len(text):
        length = max(_run_at(text, position, run) for line in RUNS for run in (line, line[::-1]))
        found += length if length >= SHORTEST_RUN else 0
        position += max(length if length >= SHORTEST_RUN else 1, 1)
    return found


def _run_at(text: str, position: int, run: str) -> int:
    """How many characters from here on follow this line of the keyboard."""
    longest = 0
    for start in (index for index, character in enumerate(run) if character == text[position]):
        length = 0
        while run[start + length : start + length + 1] == text[position + length : position + length + 1] != "":
            length += 1
        longest = max(longest, length)
    return longest


def _is_common(text: str) -> bool:
    """Whether common words are all that the letters say, whatever digits and signs stand between and around them."""
    return any(_only_common(words) for words in (_words(text), _words(_spelt_out(text))))


def _spelt_out(text: str) -> str:
    """The text with digits and signs inside of words read as the letters they look like."""
    outer = "".join(character for character in text if not character.isalpha())
    return " ".join(part.strip(outer).translate(_LOOKALIKES) for part in re.split(r"[\s._-]+", text))


def _words(text: str) -> list[str]:
    return "".join(character if character.isalpha() else " " for character in text).split()


def _only_common(words: list[str]) -> bool:
    """A few loose letters make no difference. A password without any letters is digits: a date, a phone."""
    return sum(len(word) for word in words if not _is_made_of_common(word)) <= MOST_LOOSE_LETTERS


def _is_made_of_common(word: str) -> bool:
    """Whether a word is one common word after the other."""
    reached = {0}
    for end in range(1, len(word) + 1):
        if any(word[start:end] in COMMON_WORDS for start in reached):
            reached.add(end)
    return len(word) in reached
