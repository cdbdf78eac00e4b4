"""One-time tokens, for links in mails: 256 random bits, digested per purpose, so that none serves another."""

import secrets

from ninja_auth_kit.tokens.digests import digest

PREFIX = "nako_"


def new_one_time_token() -> str:
    """Return a fresh one-time token."""
    return PREFIX + secrets.token_urlsafe(32)


def one_time_token_digest(*, purpose: str, token: str) -> str:
    """Return what `OneTimeToken.digest` holds for this token and this purpose."""
    return digest(f"one-time token: {purpose}", token)
