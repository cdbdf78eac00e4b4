"""Login: exchanging a password for a session."""

from typing import Any

from django.contrib.auth import user_login_failed
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import (
    AuthKitError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models.email_addresses import InvalidEmailError
from ninja_auth_kit.models.users import find_user, find_user_by_name, has_username
from ninja_auth_kit.services.internal.credentials import authenticate, username_for_backends
from ninja_auth_kit.services.internal.finish_login import (
    PasswordHashChangedError,
    PendingLogin,
    finish_login,
    password_proof,
)
from ninja_auth_kit.services.internal.password_hashing import is_password
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.internal.throttling import login_attempt

# Each of several parallel logins may upgrade an outdated hash, and the others then check the password again. More
# changes than this are changes of the password.
_ATTEMPTS = 5


@sensitive_variables()
def login(
    *,
    request: HttpRequest,
    password: str,
    username: str | None = None,
    email: str | None = None,
    device_token: str | None = None,
) -> TokenPair | PendingLogin:
    """Check a password through Django's authentication backends, and start a session.

    Args:
        request: passed to the backends, because lockout packages need it.
        password: as typed.
        username: the value of the user model's USERNAME_FIELD. Give this or `email`.
        email: the email address of the account.
        device_token: the token of a remembered device, if `ninja_auth_kit.contrib.factors` remembers devices.

    Returns:
        The tokens, or a `PendingLogin` if the user has a second factor.

    Raises:
        InvalidCredentialsError: the account is unknown, disabled or has no usable password, or the password is wrong.
            The error and the time are the same for all.
        EmailNotVerifiedError: the password is correct, but the email address is not verified.
        SessionLimitReachedError: the user has `SESSION_LIMIT` sessions, and `SESSION_LIMIT_POLICY` is "reject".
        ThrottledError: too many logins of this account or from this network have failed.
        ServiceUnavailableError: too many passwords are being hashed.
        ValueError: neither a username nor an email address is given.
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry. No session is started.
    """
    client = ClientInfo.of(request)
    identifier = username if email is None else email
    if identifier is None:
        raise ValueError("login() needs a username or an email address.")
    by_email = email is not None or not has_username()
    holder = _holder_of_address(identifier) if by_email else find_user_by_name(identifier)
    with login_attempt(identifier=identifier, by_email=by_email, holder=holder, client=client) as attempt:
        try:
            user = authenticate(request, identifier=identifier, holder=holder, by_email=by_email, password=password)
            attempt.slot.release()  # the next steps may wait for locks and for code of the project
            started = _start_session(
                user, request=request, client=client, password=password, device_token=device_token
            )
            attempt.is_pending = isinstance(started, PendingLogin)
            return started
        except (InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError) as refusal:
            _announce_failure(
                request, holder, by_email=by_email, client=client, identifier=identifier, refusal=refusal
            )
            raise


def _holder_of_address(email: str) -> Any | None:
    """Return the user who holds an address, or None. The login goes on without one, and takes as long."""
    try:
        return find_user(email)
    except InvalidEmailError:
        return None


@sensitive_variables()
def _start_session(
    user: Any, *, request: HttpRequest, client: ClientInfo, password: str, device_token: str | None
) -> TokenPair | PendingLogin:
    """Start the session, unless the password has changed since it was checked."""
    for _attempt in range(_ATTEMPTS):
        try:
            return finish_login(
                user, request=request, client=client, proof=password_proof(user.password), device_token=device_token
            )
        except PasswordHashChangedError as changed:
            # To another password, or to a new hash of this one, by a parallel login that upgraded it.
            if not is_password(password, changed.current_hash):
                break
            user.password = changed.current_hash
    raise InvalidCredentialsError


def _announce_failure(
    request: HttpRequest,
    holder: Any | None,
    *,
    by_email: bool,
    client: ClientInfo,
    identifier: str,
    refusal: AuthKitError,
) -> None:
    signals.login_failed.announce(user=holder, client=client, identifier=identifier, reason=refusal.code)
    if isinstance(refusal, InvalidCredentialsError):
        # The name that the backends were asked with: a lockout package compares the two.
        username = username_for_backends(identifier, holder=holder, by_email=by_email)
        credentials = {"username": username, "password": "*" * 20}
        user_login_failed.send_robust(sender=__name__, credentials=credentials, request=request)
