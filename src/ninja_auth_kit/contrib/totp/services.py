"""Authenticator apps: enrol and confirm one, complete a login with a code, and make a step-up."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors.devices import remember
from ninja_auth_kit.contrib.factors.enrolment import Enrolled, confirm_factor
from ninja_auth_kit.contrib.factors.exceptions import (
    FactorLimitError,
    FactorNotFoundError,
    InvalidFactorError,
    WrongFactorError,
    WrongFirstCodeError,
)
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.pending import complete, counted_try, read_challenge
from ninja_auth_kit.contrib.factors.step_up import SteppedUp, counted_step_up, step_up
from ninja_auth_kit.contrib.totp import codes
from ninja_auth_kit.contrib.totp.models import KIND, TotpSecret, sealed_secret
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.users import stored_email
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.tokens.sealing import SealBrokenError

ENROLMENT = timedelta(minutes=15)


@dataclass(frozen=True)
class Enrolment:
    """An authenticator app that waits for its first code. The secret is shown this once.

    Attributes:
        id: of the factor.
        secret: in Base32.
        expires_in: seconds.
    """

    id: UUID
    secret: str
    otpauth_uri: str
    qr_svg: str
    expires_in: int

    def __repr__(self) -> str:
        return f"<Enrolment {self.id}>"


@sensitive_variables()
def enrol(*, user: Any, name: str) -> Enrolment:
    """Begin to add an authenticator app. One that was begun before and not confirmed is replaced.

    Args:
        user: the user, who has been authenticated lately.
        name: what the user calls it.

    Raises:
        FactorLimitError: the user has as many as `TOTP["LIMIT"]` allows.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    secret, factor_id = codes.new_secret(), uuid4()
    sealed = sealed_secret(secret, user_id=user.pk, factor_id=factor_id)
    with atomic():
        current = lock_unchanged(user)
        own = Factor.objects.filter(user=user.pk, kind=KIND)
        confirmed = list(own.values_list("confirmed_at", flat=True))
        if len(confirmed) - confirmed.count(None) >= settings.TOTP["LIMIT"]:
            raise FactorLimitError
        if None in confirmed:
            own.filter(confirmed_at=None).delete()
        factor = Factor(id=factor_id, user_id=user.pk, kind=KIND, name=name, expires_at=timezone.now() + ENROLMENT)
        Factor.objects.bulk_create([factor])
        TotpSecret.objects.bulk_create([TotpSecret(factor_id=factor_id, secret=sealed)])
    uri = codes.provisioning_uri(secret, account=stored_email(current) or current.get_username())
    return Enrolment(factor_id, codes.as_text(secret), uri, codes.qr_svg(uri), int(ENROLMENT.total_seconds()))


@sensitive_variables()
def confirm(*, session: UserSession, factor_id: UUID, code: str, request: HttpRequest, client: ClientInfo) -> Enrolled:
    """Confirm an authenticator app with its first code, which then counts as used.

    Args:
        session: the session of the request, with its level.
        factor_id: of the enrolment.
        code: six digits.
        request: the request.
        client: its client.

    Raises:
        FactorNotFoundError: the user has begun no such enrolment, or it has expired.
        WrongFirstCodeError: the code is wrong.
        ThrottledError: too many codes were wrong.
        SessionEndedError: the session ended in the meantime.
    """
    with counted_step_up(session, name=KIND, client=client):
        secret = _unconfirmed(session.user, factor_id)
        try:
            step = codes.matching_step(secret.open(), code)
        except SealBrokenError:  # of a root secret that was removed, or planted by who can write to the database
            raise FactorNotFoundError from None
        if step is None:
            raise WrongFirstCodeError

        def store(user: Any) -> Factor:
            now = timezone.now()
            waiting = Factor.objects.filter(pk=secret.factor_id, user=user.pk, confirmed_at=None, expires_at__gt=now)
            if not waiting.update(confirmed_at=now, expires_at=None) or not TotpSecret.objects.use(secret, step):
                raise FactorNotFoundError  # a parallel request has confirmed or replaced it
            secret.factor.confirmed_at, secret.factor.expires_at = now, None
            return secret.factor

        return confirm_factor(session=session, method="otp", confirm=store, request=request, client=client)


def _unconfirmed(user: Any, factor_id: UUID) -> TotpSecret:
    waiting = TotpSecret.objects.filter(
        factor=factor_id, factor__user=user.pk, factor__confirmed_at=None, factor__expires_at__gt=timezone.now()
    )
    found = waiting.select_related("factor").first()
    if found is None:
        raise FactorNotFoundError
    return found


@sensitive_variables()
def login_by_code(
    *, challenge_token: str, code: str, remember_device: bool, request: HttpRequest, client: ClientInfo
) -> tuple[TokenPair, str | None]:
    """Complete a pending login with a code, and return the tokens and the token of the device, if it is remembered.

    Args:
        challenge_token: as received.
        code: six digits.
        remember_device: whether to remember the device, if `FACTORS["REMEMBER_DEVICE"]` is set.
        request: the request.
        client: its client.

    Raises:
        InvalidChallengeError: the challenge is not genuine, expired, used, or void since the account changed.
        InvalidFactorError: the code is wrong or was used.
        SessionLimitReachedError: there is no free session. Neither code nor challenge was used up.
        ThrottledError: too many codes of the user were wrong, or too many challenges from this network.
    """
    pending = read_challenge(challenge_token, client=client)
    with counted_try(pending, method=KIND, client=client):
        secret, step = _matching(pending.user_id, code) or _refuse()

        def prove(_: Any) -> None:
            if not TotpSecret.objects.use(secret, step):
                raise InvalidFactorError

        user = secret.factor.user
        pair = complete(pending, user, method="otp", prove=prove, request=request, client=client)
    if not remember_device:
        return pair, None
    return pair, remember(user, client=client, is_unchanged=pending.is_bound_to)


def _refuse() -> tuple[TotpSecret, int]:
    raise InvalidFactorError


@sensitive_variables()
def _matching(user_id: Any, code: str) -> tuple[TotpSecret, int] | None:
    """Return the secret of a user whose code this is, and the time step."""
    found = None
    for secret in TotpSecret.objects.confirmed_of(user_id):
        try:
            step = codes.matching_step(secret.open(), code)
        except SealBrokenError:  # of a root secret that was removed, or planted by who can write to the database
            continue
        if step is not None:
            found = (secret, step)
    return found


@sensitive_variables()
def step_up_by_code(*, session: UserSession, code: str, client: ClientInfo) -> SteppedUp:
    """Make a step-up with a code.

    Raises:
        WrongFactorError: the code is wrong or was used.
        ThrottledError: too many were wrong.
        SessionEndedError: the session ended in the meantime.
    """
    with counted_step_up(session, name=KIND, client=client):
        found = _matching(session.user_id, code)
        if found is None:
            raise WrongFactorError
        secret, step = found

        def prove(_: Any) -> None:
            if not TotpSecret.objects.use(secret, step):
                raise WrongFactorError

        return step_up(session=session, method="otp", name=KIND, client=client, prove=prove)
