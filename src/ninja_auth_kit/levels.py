"""How a user was authenticated: the methods, and the level that they amount to.

The levels are named as in NIST SP 800-63B-4, without a claim of conformance. Two first factors are still level 1: an
email is no second factor (section 3.1.3.1), and neither is what a provider says about its own login.
"""

from collections.abc import Iterable
from typing import NamedTuple

AAL1, AAL2 = "aal1", "aal2"

FIRST_FACTORS = frozenset({"pwd", "email", "fed"})
SECOND_FACTORS = frozenset({"otp", "pop", "rec"})
PASSKEY = frozenset({"pop", "user"})  # with user verification, which is two factors in one

# In this order in tokens. "pwd", "otp", "pop", "user" and "mfa" are values of RFC 8176 section 2. The others are those
# of the kit: a mailed code, a provider (federation), a recovery code, and a remembered device.
METHODS = ("pwd", "email", "fed", "otp", "pop", "user", "rec", "dev", "mfa")


class Authentication(NamedTuple):
    """What the claims `acr`, `amr` and `auth_time` of an access token say.

    Attributes:
        acr: "aal1" or "aal2".
        methods: the methods, of `METHODS`.
        time: when the user was authenticated, in seconds since the epoch.
    """

    acr: str
    methods: tuple[str, ...]
    time: int


def level_of(methods: Iterable[str]) -> int:
    """Return 2 for a passkey with user verification, or a second factor beside a first one, and 1 for all else."""
    used = frozenset(methods)
    return 2 if used >= PASSKEY or (used & FIRST_FACTORS and used & SECOND_FACTORS) else 1


def described(methods: Iterable[str]) -> tuple[str, ...]:
    """Return methods in the order of `METHODS`, with "mfa" at level 2 (RFC 8176 section 2)."""
    used = frozenset(methods) | ({"mfa"} if level_of(methods) == 2 else set())
    return tuple(method for method in METHODS if method in used)


def rank(acr: str) -> int:
    """Return the number of a level.

    Raises:
        KeyError: it is not a level.
    """
    return {AAL1: 1, AAL2: 2}[acr]
