"""The tokens of a session: its access token with your project's claims, and its refresh token."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from ninja_auth_kit.conf import imported_callable, settings
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import issue_access_token


@dataclass(frozen=True)
class TokenPair:
    """An access token and a refresh token, with their lifetimes in seconds. Only this class holds tokens in clear."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: uuid.UUID
    acr: str

    def __repr__(self) -> str:
        return f"<TokenPair of session {self.session_id}>"


def custom_claims(session: UserSession) -> Mapping[str, Any]:
    """Return the claims of `ACCESS_TOKEN_CLAIMS` for a session. Call it before locking: it runs code of the project.

    Raises:
        ImproperlyConfigured: the setting does not name a callable, or the callable does not return a mapping.
        Exception: whatever the callable raises. No token is issued then.
    """
    make_claims = imported_callable("ACCESS_TOKEN_CLAIMS")
    if make_claims is None:
        return {}
    claims = make_claims(session.user, session)
    if not isinstance(claims, Mapping):
        kind = type(claims).__name__
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] must return a mapping, not {kind}.")
    return claims


def access_token(session: UserSession, *, claims: Mapping[str, Any]) -> str:
    """Return a new access token of a session, with custom claims."""
    return issue_access_token(
        user_id=str(session.user_id), session_id=session.pk, authentication=session.authentication, extra=claims
    )


def token_pair(session: UserSession, *, access_token: str, refresh_token: str) -> TokenPair:
    """Return an access token and the current refresh token of its session as a pair."""
    return TokenPair(
        access_token=access_token,
        expires_in=int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
        refresh_token=refresh_token,
        refresh_expires_in=max(0, round((session.refresh_expires_at - timezone.now()).total_seconds())),
        session_id=session.pk,
        acr=session.authentication.acr,
    )
