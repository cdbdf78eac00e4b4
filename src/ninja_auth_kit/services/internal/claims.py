"""What the host wants to have said in access tokens beside the claims of the kit: `ACCESS_TOKEN_CLAIMS`."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ninja_auth_kit.conf import imported
from ninja_auth_kit.models import UserSession


def extra_claims(session: UserSession) -> Mapping[str, Any]:
    """Return the host's claims for a token of this session. Ask before any lock: the host's code may take its time.

    Raises:
        ImproperlyConfigured: the setting names nothing that can be called, or what it returns is no mapping.
        Exception: whatever the host's code raises; no token is issued then.
    """
    ask = imported("ACCESS_TOKEN_CLAIMS")
    if ask is None:
        return {}
    if not callable(ask):
        raise ImproperlyConfigured("NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] names nothing that can be called.")
    claims = ask(session.user, session)
    if not isinstance(claims, Mapping):
        kind = type(claims).__name__
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] must return a mapping, not {kind}.")
    return claims
