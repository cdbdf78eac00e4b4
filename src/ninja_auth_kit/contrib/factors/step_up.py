"""Step-up: a user who is logged in proves more, or proves it again (RFC 9470).

It gives an access token of the same session with the level and the time that were just proved. It rotates nothing, and
a refresh gives the level of the login again. So neither a stolen refresh token rises, nor the copy of an access token.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Greatest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import features
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.exceptions import InvalidChallengeError, WrongFactorError
from ninja_auth_kit.contrib.factors.kinds import methods_of
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.recovery_codes import use_code
from ninja_auth_kit.exceptions import SessionEndedError, WrongPasswordError
from ninja_auth_kit.levels import FIRST_FACTORS, SECOND_FACTORS, Authentication, described
from ninja_auth_kit.models import ThrottleBucket, UserSession
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.limits import ThrottleSubject, buckets_for, take_hits
from ninja_auth_kit.services.internal.password_hashing import is_password
from ninja_auth_kit.services.internal.session_tokens import custom_claims
from ninja_auth_kit.services.internal.throttling import password_check
from ninja_auth_kit.tokens import issue_access_token


@dataclass(frozen=True)
class SteppedUp:
    """A new access token of the same session. `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    acr: str

    def __repr__(self) -> str:
        return f"<SteppedUp {self.acr}>"


def methods_for(user: Any) -> tuple[str, ...]:
    """Return how a user can make a step-up: with a factor, and unless one is asked for, with a first factor."""
    confirmed = Factor.objects.confirmed(user)
    factors = methods_of(confirmed.kinds.values()) if confirmed.kinds else ()
    if confirmed.are_asked_for:
        return factors
    password = ("password",) if user.has_usable_password() else ()
    return (*password, *features.step_up_methods(user), *factors)


@sensitive_variables()
def step_up(
    *,
    session: UserSession,
    method: str,
    name: str,
    client: ClientInfo,
    prove: Callable[[Any], None] = lambda _: None,
) -> SteppedUp:
    """Return an access token with the level that was proved.

    Args:
        session: the session of the request, with its level.
        method: what was proved, of `levels.METHODS`; several with spaces.
        name: the method in the words of the API, for the audit event.
        client: the client of the request.
        prove: called with the locked user in the transaction. It uses up what was proved, or raises an exception.

    Raises:
        SessionEndedError: the session ended in the meantime.
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry. Nothing is used up.
    """
    claims = custom_claims(session)  # before the lock, because it runs code of the project
    now = timezone.now()
    raised = _authentication(session, frozenset(method.split()), int(now.timestamp()))
    # Before anything is used up: claims that a token cannot carry are an error.
    token = issue_access_token(
        user_id=str(session.user_id), session_id=session.pk, authentication=raised, extra=claims
    )
    with atomic():
        user = lock_unchanged(session.user)
        prove(user)
        row = UserSession.objects.filter(pk=session.pk, is_active=True)
        # Only level 2 is noted: a password must not renew what an earlier factor has proved.
        # A parallel step-up may have noted a later time, and its token must stay confirmed.
        is_active = row.update(step_up_at=Greatest("step_up_at", now)) if raised.acr == "aal2" else row.exists()
        if not is_active:
            raise SessionEndedError
        signals.stepped_up.announce(user=user, client=client, session_id=session.pk, method=name, acr=raised.acr)
    return SteppedUp(token, int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()), raised.acr)


def _authentication(session: UserSession, proved: frozenset[str], time: int) -> Authentication:
    """Return what the token says: the methods of the login and of this proof. A first factor alone is level 1."""
    of_login = frozenset(session.amr.split()) - {"mfa", "dev"}
    if proved & SECOND_FACTORS:
        return Authentication("aal2", described(of_login | proved | {"mfa"}), time)
    return Authentication("aal1", described((of_login & FIRST_FACTORS) | proved), time)


@contextmanager
def counted_step_up(session: UserSession, *, name: str, client: ClientInfo) -> Iterator[None]:
    """Count a wrong code of a user who is logged in, apart from those at login, which strangers can cause.

    Raises:
        ThrottledError: too many were wrong.
    """
    account = buckets_for("step_up_account", str(session.user_id))
    hits = take_hits(account, ThrottleSubject(client, session.user))
    try:
        yield
    except (WrongFactorError, InvalidChallengeError) as error:
        signals.step_up_failed.announce(
            user=session.user, client=client, session_id=session.pk, reason=error.code, method=name
        )
        if isinstance(error, InvalidChallengeError):
            ThrottleBucket.objects.give_back(hits)
        raise
    except Exception:
        ThrottleBucket.objects.give_back(hits)
        raise
    ThrottleBucket.objects.give_back(hits, clearing=account)


@sensitive_variables()
def step_up_by_password(*, session: UserSession, password: str, client: ClientInfo) -> SteppedUp:
    """Make a step-up with the password, to level 1.

    Raises:
        WrongFactorError: the user has a second factor. Nothing is counted.
        WrongPasswordError: the password is wrong.
        ThrottledError: too many passwords of the account were wrong.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    user = session.user
    if Factor.objects.confirmed(user).are_asked_for:
        raise WrongFactorError
    with password_check(user=user, client=client):
        if not is_password(password, user.password):
            signals.step_up_failed.announce(
                user=user, client=client, session_id=session.pk, reason=WrongPasswordError.code, method="password"
            )
            raise WrongPasswordError
    return step_up(session=session, method="pwd", name="password", client=client)


@sensitive_variables()
def step_up_by_recovery_code(*, session: UserSession, code: str, client: ClientInfo) -> SteppedUp:
    """Make a step-up with a recovery code, which is used up.

    Raises:
        WrongFactorError: the code is wrong or was used.
        ThrottledError: too many were wrong.
    """

    def prove(user: Any) -> None:
        if use_code(code, user=user, client=client) is None:
            raise WrongFactorError

    with counted_step_up(session, name="recovery_code", client=client):
        return step_up(session=session, method="rec", name="recovery_code", client=client, prove=prove)
