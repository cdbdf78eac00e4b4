"""The codes: how they are made, shown and read."""

import secrets

# The letters of RFC 8628 section 6.1: no vowels, so that no words appear, and none that look alike. Eight of them are
# 34.5 bits, of which an attacker has five tries.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
LENGTH = 8

_GROUP = 4


def new_code() -> str:
    """Return a new code, as it is digested."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(code: str) -> str:
    """Return a code as the email shows it, such as "WDJB-MJHT"."""
    return f"{code[:_GROUP]}-{code[_GROUP:]}"


def normalized(typed: str) -> str:
    """Return a code in its one spelling: in upper case, without dashes and white space.

    Letters that are not ASCII stay as they are: some become ASCII in upper case.
    """
    kept = "".join(letter for letter in typed if letter != "-" and not letter.isspace())
    return kept.upper() if kept.isascii() else kept
