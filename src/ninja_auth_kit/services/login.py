"""Login: a password for a session."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import user_logged_in, user_login_failed
from django.contrib.auth.hashers import check_password
from django.db import transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import (
    AuthKitError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError
from ninja_auth_kit.models.users import (
    find_user,
    find_user_by_name,
    has_username,
    is_verified,
    lock_user,
    may_authenticate,
)
from ninja_auth_kit.services.internal.credentials import authenticate
from ninja_auth_kit.services.internal.throttling import login_attempt
from ninja_auth_kit.services.sessions import TokenPair, extra_claims, new_session, start_session

# Parallel logins may each renew the hash, and each has to look again; more often than that the password changes.
_ATTEMPTS = 5


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
        ThrottledError: too many logins of this account or from this network have failed.
        ServiceUnavailableError: too many passwords are being hashed.
        ValueError: neither a username nor an email.
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` gives what cannot be put into a token; there is no session then.
    """
    client = ClientInfo.of(request)
    identifier = username if email is None else email
    if identifier is None:
        raise ValueError("login needs a username or an email")
    by_email = email is not None or not has_username()
    holder = _holder_of_address(identifier) if by_email else find_user_by_name(identifier)
    with login_attempt(identifier=identifier, by_email=by_email, holder=holder, client=client) as place:
        try:
            user, same = authenticate(
                request, identifier=identifier, holder=holder, by_email=by_email, password=password
            )
            place.give_up()  # what follows may wait for locks and for the host's code
            renewed = holder.password if same and holder is not None else None
            return _start_session(user, request=request, client=client, password=password, renewed=renewed)
        except (InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError) as refusal:
            _announce_failure(request, user=holder, client=client, identifier=identifier, refusal=refusal)
            raise


def _holder_of_address(email: str) -> Any | None:
    """Return who holds the address. Without anybody the login goes on, and takes as long as with a wrong password."""
    try:
        return find_user(email)
    except InvalidEmailError:
        return None


@sensitive_variables()
def _start_session(
    user: Any, *, request: HttpRequest, client: ClientInfo, password: str, renewed: str | None
) -> TokenPair:
    """Start the session under the lock of the user, where the password that was checked is still the password.

    Args:
        user: as the backend has read it.
        request: for the receivers of Django's signal.
        client: who is calling.
        password: as typed.
        renewed: an older hash of the same password, whose sessions live on.
    """
    for _attempt in range(_ATTEMPTS):
        session = new_session(user=user, client=client)
        extra = _early_claims(session)
        with atomic():
            current = _locked(user)
            if current.password == user.password:
                if renewed is not None and renewed != current.password:
                    UserSession.objects.update_auth_hash(user=current, old=renewed, new=current.password)
                extra = extra_claims(session) if extra is None else extra
                pair = start_session(session, user=current, extra=extra, client=client)
                transaction.on_commit(lambda: _tell_django(request, user), using=accounts_database(), robust=True)
                return pair
        # Changed since the backend has read it: to another password, or by a login that renewed the hash of this one.
        if not check_password(password, current.password):
            break
        user.password = current.password
    raise InvalidCredentialsError


def _early_claims(session: UserSession) -> Mapping[str, Any] | None:
    """Ask the host for its claims before anything is locked; None for who will be turned away in a moment.

    These must not wait for the host's code: a registration that leads nowhere has none to wait for.
    """
    user = session.user
    if settings.ACCESS_TOKEN_CLAIMS is None or not may_authenticate(user):
        return None
    return extra_claims(session) if not settings.EMAIL_VERIFICATION_REQUIRED or is_verified(user) else None


def _locked(user: Any) -> Any:
    """Lock the user and check again what was checked before the lock."""
    current = lock_user(user.pk)
    if current is None or not may_authenticate(current):
        raise InvalidCredentialsError
    if settings.EMAIL_VERIFICATION_REQUIRED and not is_verified(current):
        raise EmailNotVerifiedError
    return current


def _tell_django(request: HttpRequest, user: Any) -> None:
    user_logged_in.send_robust(sender=type(user), request=request, user=user)


def _announce_failure(
    request: HttpRequest, *, user: Any | None, client: ClientInfo, identifier: str, refusal: AuthKitError
) -> None:
    signals.login_failed.announce(user=user, client=client, identifier=identifier, reason=refusal.code)
    if isinstance(refusal, InvalidCredentialsError):
        credentials = {"username": identifier, "password": "*" * 20}
        user_login_failed.send_robust(sender=__name__, credentials=credentials, request=request)
