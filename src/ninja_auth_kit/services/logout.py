"""Logout: ending the session of the request, or all sessions of the user. The access token is rejected at once."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib.auth import user_logged_out
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import lock_user, user_by_pk
from ninja_auth_kit.short_transaction import short_atomic
from ninja_auth_kit.tokens import read_expired_access_token, read_refresh_token


@sensitive_variables()
def logout(*, request: HttpRequest, access_token: str | None = None, refresh_token: str | None = None) -> None:
    """End the session of a token. Invalid tokens and repeated calls are not errors, as in RFC 7009 section 2.2.

    Args:
        request: the request.
        access_token: the access token of the session. It may have expired.
        refresh_token: the refresh token of the session, used if there is no genuine access token.
    """
    session_id = _session_of(access_token, refresh_token)
    if session_id is None:
        return
    with short_atomic():
        for ended in UserSession.objects.end(reason=EndReason.LOGOUT, ids=[session_id]):
            _announce(request, user=user_by_pk(ended.user_id), session_id=ended.id, scope="one", sessions_ended=1)


def logout_all(*, request: HttpRequest, user: Any) -> None:
    """End every session of a user.

    Args:
        request: the request.
        user: the user.
    """
    with short_atomic():
        lock_user(user.pk)
        ended = UserSession.objects.end(reason=EndReason.LOGOUT, user_id=user.pk)
        if ended:
            _announce(request, user=user, session_id=None, scope="all", sessions_ended=len(ended))


def _session_of(access_token: str | None, refresh_token: str | None) -> UUID | None:
    with suppress(InvalidTokenError):
        if access_token is not None:
            return read_expired_access_token(access_token).session_id
    with suppress(InvalidTokenError):
        if refresh_token is not None:
            return read_refresh_token(refresh_token).session_id
    return None


def _announce(request: HttpRequest, *, user: Any, **carried: Any) -> None:
    signals.logged_out.announce(user=user, client=ClientInfo.of(request), **carried)
    transaction.on_commit(lambda: _send_user_logged_out(request, user), using=accounts_database(), robust=True)


def _send_user_logged_out(request: HttpRequest, user: Any) -> None:
    user_logged_out.send_robust(sender=type(user), request=request, user=user)
