"""Sessions: starting one within the limit, checking the one of an access token, listing and ending them."""

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import Error
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    InvalidCredentialsError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    SessionLimitReachedError,
    SessionNotFoundError,
    StepUpRequiredError,
)
from ninja_auth_kit.levels import AAL2, METHODS, rank
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.services.internal.finish_login import PendingLogin, Proof, announce_end, finish_login
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.tokens import AccessClaims, password_fingerprints, read_access_token

logger = logging.getLogger("ninja_auth_kit.sessions")

METHODS_OF_PROJECTS = frozenset(METHODS) - {"mfa", "dev"}  # the kit alone decides about these two


def start_session(
    user: Any, *, request: HttpRequest, client: ClientInfo | None = None, methods: Iterable[str] = ("fed",)
) -> TokenPair | PendingLogin:
    """Start a session for a user whom your project has authenticated, such as by single sign-on.

    Every rule of a login applies except the password: a disabled user is rejected, so is an unverified email address
    if `EMAIL_VERIFICATION_REQUIRED` is on, `SESSION_LIMIT` ends or rejects sessions, the token has the claims of
    `ACCESS_TOKEN_CLAIMS`, and the kit's signals, its audit events and Django's `user_logged_in` are sent. Rate limits
    do not apply: no password can be guessed here. Call it outside your own transactions.

    Args:
        user: a saved user.
        request: for the receivers of Django's `user_logged_in`, and for the client.
        client: the client to record, if it is not the client of the request.
        methods: how your project has authenticated the user, for the claim `amr`: by default "fed", a login at a
            provider. See `levels.METHODS`.

    Returns:
        The tokens; or a `PendingLogin` if `ninja_auth_kit.contrib.factors` is installed and the user has a second
        factor. Send its `challenge_token` and `methods` to your front end, as the answer 202 of `POST login` has them.

    Raises:
        InvalidCredentialsError: the user is disabled or deleted.
        EmailNotVerifiedError: the email address is not verified.
        SessionLimitReachedError: the user has `SESSION_LIMIT` sessions, and `SESSION_LIMIT_POLICY` is "reject".
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry.
        ValueError: the user is not saved, or a method is unknown.
    """
    if user._state.adding:  # a UUID primary key is set before the user is saved
        raise ValueError("start_session() needs a saved user.")
    if not METHODS_OF_PROJECTS.issuperset(methods := frozenset(methods)) or not methods:
        raise ValueError(f"start_session() needs one or several methods of {', '.join(sorted(METHODS_OF_PROJECTS))}.")
    client = client or ClientInfo.of(request)
    try:
        return finish_login(user, request=request, client=client, proof=Proof(methods))
    except (InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError) as refusal:
        signals.login_failed.announce(user=user, client=client, identifier=user.get_username(), reason=refusal.code)
        raise


@sensitive_variables()
def check_access_token(token: str, *, with_email: bool = False) -> UserSession:
    """Return the valid session of an access token, with its user, by one query.

    Args:
        token: the access token.
        with_email: whether the same query loads `user.authkit_email`, which says whether the address is verified.

    Raises:
        InvalidTokenError: the token is not genuine, or its session or user does not exist.
        TokenExpiredError: the token has expired.
        SessionEndedError: the session ended, for example by a logout, another login, a changed password, a disabled
            account, or the absolute limit.
        ServiceUnavailableError: the database did not answer. The request is rejected (ASVS 16.5.3).
    """
    return session_for(read_access_token(token), with_email=with_email)


def session_for(claims: AccessClaims, *, with_email: bool = False, with_level: bool = False) -> UserSession:
    """Return the valid session of the claims of an access token; see `check_access_token`.

    Args:
        claims: those of a genuine token.
        with_email: as there.
        with_level: whether the same query loads what `require_level` needs.
    """
    try:
        session = UserSession.objects.load_for_check(claims.session_id, with_email=with_email, with_level=with_level)
    except Error as error:
        logger.exception("A session could not be checked.")
        raise ServiceUnavailableError from error
    return _require_valid(session, claims)


def sessions_for(
    claims: Sequence[AccessClaims], *, with_email: bool = False, with_level: bool = False
) -> list[UserSession | Exception]:
    """Return for each of several claims what `session_for` returns or raises, with one query for all of them.

    Args:
        claims: those of genuine tokens.
        with_email: as there.
        with_level: as there.
    """
    ids = [one.session_id for one in claims]
    try:
        found = UserSession.objects.load_for_checks(ids, with_email=with_email, with_level=with_level)
    except Error as error:
        logger.exception("%d sessions could not be checked.", len(claims))
        return [_caused_by(error, ServiceUnavailableError()) for _ in claims]
    return [_outcome(*pair) for pair in zip(found, claims, strict=True)]


def _outcome(load: Callable[[], UserSession] | None, claims: AccessClaims) -> UserSession | Exception:
    """Return a valid session, or the error of this one: code of your project runs here, such as `from_db`."""
    try:
        return _require_valid(load() if load is not None else None, claims)
    except Error as error:
        logger.exception("A session could not be checked.")
        return _caused_by(error, ServiceUnavailableError())
    except StopIteration as error:  # a future cannot raise it
        return _caused_by(error, RuntimeError("Code that checks a session raised StopIteration."))
    except Exception as error:  # raised in the request that it belongs to
        return error


def _caused_by(error: Exception, failure: Exception) -> Exception:
    failure.__cause__ = error
    return failure


def _require_valid(session: UserSession | None, claims: AccessClaims) -> UserSession:
    if session is None or str(session.user_id) != claims.user_id:
        raise InvalidTokenError
    if not session.is_valid() or session.has_expired(timezone.now()):
        raise SessionEndedError
    return session


def require_level(
    claims: AccessClaims, session: UserSession | None, *, acr: str | None = None, max_age: int | None = None
) -> None:
    """Require a level, and an authentication that is not too old.

    Args:
        claims: those of the access token, which must say so. So the copy of a token that was stolen before a step-up
            does not rise with it (RFC 9470 section 4; ASVS 7.2.4).
        session: must confirm level 2, so that it can be taken away at once; None if only the token decides.
        acr: the level, or None for any.
        max_age: seconds, or None for any.

    Raises:
        StepUpRequiredError: the user must prove more, or prove it again.
    """
    proved = claims.authentication
    is_recent = max_age is None or timezone.now().timestamp() - proved.time <= max_age
    is_high = acr is None or rank(proved.acr) >= rank(acr)
    if acr == AAL2 and session is not None:
        is_high = is_high and session.confirms(proved)
    if not is_recent or not is_high:
        raise StepUpRequiredError(acr=acr, max_age=max_age)


def list_sessions(*, user: Any) -> QuerySet[UserSession]:
    """Return the valid sessions of a user, newest first."""
    now = timezone.now()
    valid = UserSession.objects.filter(user=user, is_active=True, refresh_expires_at__gt=now)
    return valid.filter(auth_hash__in=password_fingerprints(user.password)).order_by("-login_time")


def end_session(*, user: Any, session_id: str, client: ClientInfo) -> None:
    """End one session of a user, at the user's own request.

    Args:
        user: the user who is logged in.
        session_id: the id as received. Text that is not a UUID is not the id of a session.
        client: the client of the request.

    Raises:
        SessionNotFoundError: the user has no active session with this id.
    """
    try:
        key = uuid.UUID(session_id)
    except ValueError:
        raise SessionNotFoundError from None
    with atomic():
        ended = UserSession.objects.end(reason=EndReason.REVOKED, ids=[key], user_id=user.pk)
        if ended:
            announce_end(user, key, EndReason.REVOKED, by="user", client=client)
    if not ended:
        raise SessionNotFoundError
