"""One-time tokens, for links in mails: 256 random bits, digested per purpose, so that none serves another."""

import secrets

from ninja_auth_kit.tokens.digests import digest, digests

PREFIX = "nako_"


def new_one_time_token() -> str:
    """Return a fresh one-time token."""
    return PREFIX + secrets.token_urlsafe(32)


def one_time_token_digest(*, purpose: str, token: str) -> str:
    """Return what `OneTimeToken.digest` holds for this token and this purpose."""
    return digest(_label(purpose), token)


def one_time_token_digests(*, purpose: str, token: str) -> list[str]:
    """Return what `OneTimeToken.digest` may hold for this token and this purpose: one digest for each root."""
    return digests(_label(purpose), token)


def _label(purpose: str) -> str:
    return f"one-time token: {purpose}"
