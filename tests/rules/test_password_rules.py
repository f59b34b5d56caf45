"""Which passwords are refused, and that good ones are not."""

import secrets

import pytest

from backend.services.password_rules import Weakness, weakness
from backend.services.passwords import CODE_ALPHABET

NAMES = ("zhang.ping", "张平安")


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("my-Zhang.Ping-77", Weakness.NAME),
        ("张平安的密码很长很长很长", Weakness.NAME),
        ("aaaaaaaaaaaaaaaa", Weakness.PATTERN),
        ("abcabcabcabcabc", Weakness.PATTERN),
        ("Tr0ub4Tr0ub4Tr0u", Weakness.PATTERN),
        ("123456789012", Weakness.PATTERN),
        ("abcdefghijklmn", Weakness.PATTERN),
        ("qwertyuiop[]12", Weakness.PATTERN),
        ("1qaz2wsx3edc", Weakness.PATTERN),
        ("9876543210zyx", Weakness.PATTERN),
        ("passwordpassword1", Weakness.COMMON),
        ("Password!2026!", Weakness.COMMON),
        ("P@ssw0rd-2026-!!", Weakness.COMMON),
        ("zhiwang-demo-2026", Weakness.COMMON),
        ("admin.shenzhen.8", Weakness.COMMON),
        ("19850317138001", Weakness.COMMON),
        ("bridge lantern 7 orchard", None),
        ("correct horse battery staple", None),
        ("tR7#kP2$vL9q", None),
        ("老城墙边第三棵榕树下", None),
    ],
)
def test_what_is_easily_guessed_is_refused(password: str, expected: Weakness | None) -> None:
    assert weakness(password, names=NAMES) is expected


def test_a_name_of_two_letters_says_nothing() -> None:
    assert weakness("bridge lantern 7 orchard", names=("an", "or")) is None


def test_random_passwords_are_taken() -> None:
    for _ in range(300):
        password = "".join(secrets.choice(CODE_ALPHABET) for _ in range(16))
        assert weakness(password, names=NAMES) is None, password
