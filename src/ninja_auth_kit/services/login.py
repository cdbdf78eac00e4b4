"""Login: a password for a session."""

import inspect
from typing import Any

from django.contrib.auth import get_backends, get_user_model, user_logged_in, user_login_failed
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import (
    AuthKitError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models import InvalidEmailError, database, find_user, has_username, is_verified, lock_user
from ninja_auth_kit.services.sessions import TokenPair, start_session


@sensitive_variables()
def login(*, request: HttpRequest, password: str, username: str | None = None, email: str | None = None) -> TokenPair:
    """Check a password through Django's authentication backends and start a session.

    Args:
        request: handed to the backends, as lockout packages want it.
        password: as typed.
        username: the value of the user model's USERNAME_FIELD; this or `email`.
        email: the address of the account.

    Raises:
        InvalidCredentialsError: unknown, wrong, disabled or without a usable password: one error, and one time.
        EmailNotVerifiedError: the password is right, but the address is not verified.
        SessionLimitReachedError: see `SESSION_LIMIT_POLICY`.
    """
    client = ClientInfo.of(request)
    identifier = username if email is None else email
    if identifier is None:
        raise ValueError("login needs a username or an email")
    by_email = email is not None or not has_username()
    owner = _owner(identifier) if by_email else None
    name = get_user_model().normalize_username(identifier) if owner is None else owner.get_username()
    try:
        user = _first_accepted(request, username=name, password=password)
        # Of an address, the owner must be who logs in: a username that looks like an address proves nothing.
        if user is None or (by_email and (owner is None or user.pk != owner.pk)):
            raise InvalidCredentialsError
        with transaction.atomic(using=database()):
            pair = start_session(user=_rechecked(user), client=client)
            transaction.on_commit(lambda: _tell_django(request, user), using=database(), robust=True)
    except (InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError) as refusal:
        _announce_failure(request, user=owner, client=client, identifier=identifier, refusal=refusal)
        raise
    return pair


def _owner(email: str) -> Any | None:
    """Return who holds the address. Without anybody the login goes on, and takes as long as with a wrong password."""
    try:
        return find_user(email)
    except InvalidEmailError:
        return None


@sensitive_variables()
def _first_accepted(request: HttpRequest, *, username: str, password: str) -> Any | None:
    """Ask the backends in turn, as `django.contrib.auth.authenticate` does.

    Not that function itself, because it sends `user_login_failed` so that a failing receiver turns a wrong password
    into a server error. What it sends, `_announce_failure` sends, robustly and once.
    """
    for backend in get_backends():
        try:
            inspect.signature(backend.authenticate).bind(request, username=username, password=password)
        except TypeError:  # a backend for other credentials
            continue
        try:
            user = backend.authenticate(request, username=username, password=password)
        except PermissionDenied:  # "stop here", in the protocol of the backends
            return None
        if user is not None:
            user.backend = f"{type(backend).__module__}.{type(backend).__qualname__}"
            return user
    return None


def _rechecked(user: Any) -> Any:
    """Lock the user and check again what was checked before the lock: a password changed meanwhile must not log in."""
    current = lock_user(user.pk)
    if current is None or current.password != user.password or not getattr(current, "is_active", True):
        raise InvalidCredentialsError
    if settings.EMAIL_VERIFICATION_REQUIRED and not is_verified(current):
        raise EmailNotVerifiedError
    return current


def _tell_django(request: HttpRequest, user: Any) -> None:
    user_logged_in.send_robust(sender=type(user), request=request, user=user)


def _announce_failure(
    request: HttpRequest, *, user: Any | None, client: ClientInfo, identifier: str, refusal: AuthKitError
) -> None:
    signals.login_failed.announce(
        using=database(), user=user, client=client, identifier=identifier, reason=refusal.code
    )
    if isinstance(refusal, InvalidCredentialsError):
        credentials = {"username": identifier, "password": "*" * 20}
        user_login_failed.send_robust(sender=__name__, credentials=credentials, request=request)
