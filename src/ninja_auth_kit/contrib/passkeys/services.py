"""Passkeys: register one, log in with it alone or behind a first factor, and make a step-up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors.devices import remember
from ninja_auth_kit.contrib.factors.enrolment import Enrolled, confirm_factor
from ninja_auth_kit.contrib.factors.exceptions import (
    FactorLimitError,
    InvalidCeremonyError,
    InvalidChallengeError,
    InvalidFactorError,
    WrongFactorError,
)
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.pending import (
    Pending,
    clear_wrong_tries,
    complete,
    continue_login,
    continued_login,
    counted_try,
    factors_of,
    read_challenge,
    read_login_ticket,
)
from ninja_auth_kit.contrib.factors.signals import factor_failed
from ninja_auth_kit.contrib.factors.step_up import SteppedUp, counted_step_up, step_up
from ninja_auth_kit.contrib.passkeys import ceremonies
from ninja_auth_kit.contrib.passkeys.ceremonies import ClonedPasskeyError, InvalidPasskeyError
from ninja_auth_kit.contrib.passkeys.exceptions import PasskeyExistsError, PasskeyRefusedError
from ninja_auth_kit.contrib.passkeys.models import KIND, Passkey, PasskeyHandle
from ninja_auth_kit.contrib.passkeys.settings import relying_party
from ninja_auth_kit.contrib.passkeys.signals import clone_suspected
from ninja_auth_kit.contrib.passkeys.structures import Assertion, Descriptor, NewPasskey
from ninja_auth_kit.exceptions import (
    AuthKitError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.models.users import account_state, stored_email
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.finish_login import Proof, finish_login
from ninja_auth_kit.services.internal.limits import ThrottleSubject, network_buckets, require_not_full
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.internal.throttling import count_refused_token, count_request
from ninja_auth_kit.signals import login_failed
from ninja_auth_kit.tokens import InvalidTicketError, Ticket, TicketPurpose, issue_ticket, read_ticket

_CHALLENGE = "passkey challenge"


@dataclass(frozen=True)
class Ceremony:
    """A ceremony that has begun.

    Attributes:
        challenge_token: what must come back with the credential.
        public_key: the options for the browser.
    """

    challenge_token: str
    public_key: dict[str, Any]

    def __repr__(self) -> str:
        return "<Ceremony>"


def _challenge_of(token: str, purpose: TicketPurpose) -> bytes:
    return read_ticket(token, purpose).derive(_CHALLENGE)


def _method(*, is_user_verified: bool) -> str:
    """Return what a passkey has proved, of `levels.METHODS`."""
    return "pop user" if is_user_verified else "pop"


# Registration


def registration_options(*, session: UserSession) -> Ceremony:
    """Begin to register a passkey.

    Args:
        session: the session of the request. Only this session can finish.

    Raises:
        FactorLimitError: the user has as many as `PASSKEYS["LIMIT"]` allows.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        user = lock_unchanged(session.user)
        own = Passkey.objects.of_user(user.pk)
        if len(own) >= settings.PASSKEYS["LIMIT"]:
            raise FactorLimitError
        handle = PasskeyHandle.objects.for_user(user)
    token = issue_ticket(TicketPurpose.PASSKEY_REGISTRATION, {"session": str(session.pk)})
    options = ceremonies.registration_options(
        relying_party(),
        challenge=_challenge_of(token, TicketPurpose.PASSKEY_REGISTRATION),
        handle=handle,
        user_name=stored_email(user) or user.get_username(),
        exclude=[passkey.descriptor for passkey in own],
    )
    return Ceremony(token, options)


@sensitive_variables()
def register(
    *, session: UserSession, challenge_token: str, credential: Any, name: str, request: HttpRequest, client: ClientInfo
) -> Enrolled:
    """Register a passkey, which is confirmed by this.

    Args:
        session: the session of the request, with its level.
        challenge_token: as received.
        credential: as received.
        name: what the user calls it.
        request: the request.
        client: its client.

    Raises:
        InvalidCeremonyError: the challenge is not genuine, of another session, expired or used.
        PasskeyRefusedError: the credential is not accepted.
        PasskeyExistsError: the passkey is registered already. The challenge was not used up.
        FactorLimitError: the user has as many as `PASSKEYS["LIMIT"]` allows.
        SessionEndedError: the session ended in the meantime.
    """
    ticket = _ticket_of(session, challenge_token, TicketPurpose.PASSKEY_REGISTRATION)
    with _refused_as(PasskeyRefusedError):
        new = ceremonies.verify_registration(credential, party=relying_party(), challenge=ticket.derive(_CHALLENGE))

    def store(user: Any) -> Factor:
        if not SpentTicket.objects.spend(ticket):
            raise InvalidCeremonyError
        return _stored(new, user, name)

    method = _method(is_user_verified=new.is_user_verified)
    return confirm_factor(session=session, method=method, confirm=store, request=request, client=client)


def _ticket_of(session: UserSession, token: str, purpose: TicketPurpose) -> Ticket:
    """Return the ticket of a ceremony that this session has begun."""
    try:
        ticket = read_ticket(token, purpose)
    except InvalidTicketError:
        raise InvalidCeremonyError from None
    if ticket.payload["session"] != str(session.pk):
        raise InvalidCeremonyError
    return ticket


@contextmanager
def _refused_as(error: type[AuthKitError]) -> Iterator[None]:
    try:
        yield
    except InvalidPasskeyError:
        raise error from None


def _stored(new: NewPasskey, user: Any, name: str) -> Factor:
    factor = Factor(id=uuid4(), user_id=user.pk, kind=KIND, name=name, confirmed_at=timezone.now())
    passkey = Passkey.of(new, factor)
    Factor.objects.bulk_create([factor])
    # A unique violation would be an error in the log of PostgreSQL that contains the id.
    Passkey.objects.bulk_create([passkey], ignore_conflicts=True)
    own = set(Passkey.objects.filter(factor__user=user.pk).values_list("pk", flat=True))
    if factor.pk not in own:
        raise PasskeyExistsError
    if len(own) > settings.PASSKEYS["LIMIT"]:
        raise FactorLimitError
    return factor


# Authentication, in each of its three uses


@dataclass(frozen=True)
class _Use:
    """A genuine use of a passkey, which is not stored yet."""

    passkey: Passkey
    assertion: Assertion

    @property
    def user(self) -> Any:
        return self.passkey.factor.user

    @property
    def method(self) -> str:
        return _method(is_user_verified=self.assertion.is_user_verified)

    def is_of_same_account(self, current: Any) -> bool:
        """Return whether the account is as it was when the passkey was found, and still has it."""
        is_same = account_state(current) == account_state(self.user)
        return is_same and Passkey.objects.filter(pk=self.passkey.pk).exists()

    def store(self, otherwise: type[AuthKitError]) -> None:
        if not Passkey.objects.use(self.passkey, self.assertion):
            raise otherwise

    def storing(self, otherwise: type[AuthKitError]) -> Callable[[Any], None]:
        return lambda _: self.store(otherwise)


def _options(
    token: str, purpose: TicketPurpose, *, allow: list[Descriptor] | None, require_verification: bool = False
) -> Ceremony:
    options = ceremonies.authentication_options(
        relying_party(),
        challenge=_challenge_of(token, purpose),
        allow=allow,
        require_verification=require_verification,
    )
    return Ceremony(token, options)


@sensitive_variables()
def _verified(credential: Any, ticket: Ticket, *, user_id: Any, client: ClientInfo) -> _Use:
    """Return the use of a passkey by a credential.

    Args:
        credential: as received.
        ticket: that of the ceremony.
        user_id: the primary key of the user who must own the passkey; None if no other factor has named a user. The
            authenticator must then have verified and named the user.
        client: the client of the request.

    Raises:
        InvalidPasskeyError: the credential is not accepted.
    """
    found = Passkey.objects.find(ceremonies.credential_id_of(credential))
    if found is not None and user_id is not None and found[0].factor.user_id != user_id:
        found = None
    try:
        assertion = ceremonies.verify_assertion(
            credential,
            None if found is None else found[1],
            party=relying_party(),
            challenge=ticket.derive(_CHALLENGE),
            require_verification=user_id is None,
            require_handle=user_id is None,
        )
    except ClonedPasskeyError:
        factor = found[0].factor  # type: ignore[index]  # an unknown passkey has no counter
        clone_suspected.announce(user=factor.user, client=client, factor_id=str(factor.pk))
        raise
    return _Use(found[0], assertion)  # type: ignore[index]  # an unknown passkey is refused


# Login


def login_options(*, challenge_token: str | None, client: ClientInfo) -> Ceremony:
    """Begin a login with a passkey.

    Without a pending login, the options are the same for everyone but for the challenge: no user is named.

    Args:
        challenge_token: that of a pending login, or None.
        client: the client of the request.

    Raises:
        InvalidChallengeError: the challenge is not genuine, expired, used, or void since the account changed.
        ThrottledError: too many requests from this network.
    """
    count_request(client)
    purpose = TicketPurpose.PASSKEY_LOGIN
    if challenge_token is None:
        return _options(issue_ticket(purpose, {}), purpose, allow=None, require_verification=True)
    pending = read_challenge(challenge_token, client=client)
    factors: list[Any] = factors_of(pending, "passkey", client=client)
    allow = [factor.passkey.descriptor for factor in factors if factor.kind == KIND]
    return _options(continue_login(pending, purpose), purpose, allow=allow)


@sensitive_variables()
def login_by_passkey(
    *, challenge_token: str, credential: Any, remember_device: bool, request: HttpRequest, client: ClientInfo
) -> tuple[TokenPair, str | None]:
    """Log in with a passkey, and return the tokens and the token of the device, if it is remembered.

    Args:
        challenge_token: that of `login_options`, as received.
        credential: as received.
        remember_device: whether to remember the device, if `FACTORS["REMEMBER_DEVICE"]` is set.
        request: the request.
        client: its client.

    Raises:
        InvalidChallengeError: the challenge is not genuine, expired, used, or void since the account changed.
        InvalidFactorError: the credential is not accepted, or its user is disabled.
        EmailNotVerifiedError: the email address is not verified.
        SessionLimitReachedError: there is no free session. The challenge was not used up.
        ThrottledError: too many rejected credentials or challenges from this network.
    """
    ticket = read_login_ticket(challenge_token, TicketPurpose.PASSKEY_LOGIN, client=client)
    pending = continued_login(ticket, client=client)
    if pending is None:
        pair, use = _login_alone(credential, ticket, request=request, client=client)
        is_unchanged: Callable[[Any], bool] = use.is_of_same_account
    else:
        pair, use = _complete_login(credential, ticket, pending, request=request, client=client)
        is_unchanged = pending.is_bound_to
    return pair, remember(use.user, client=client, is_unchanged=is_unchanged) if remember_device else None


@sensitive_variables()
def _complete_login(
    credential: Any, ticket: Ticket, pending: Pending, *, request: HttpRequest, client: ClientInfo
) -> tuple[TokenPair, _Use]:
    with counted_try(pending, method=KIND, client=client, by_account=False):
        with _refused_as(InvalidFactorError):
            use = _verified(credential, ticket, user_id=pending.user_id, client=client)
        prove = use.storing(InvalidFactorError)
        return complete(pending, use.user, method=use.method, prove=prove, request=request, client=client), use


@sensitive_variables()
def _login_alone(
    credential: Any, ticket: Ticket, *, request: HttpRequest, client: ClientInfo
) -> tuple[TokenPair, _Use]:
    with _counted_by_network(client):
        with _refused_as(InvalidFactorError):
            use = _verified(credential, ticket, user_id=None, client=client)

        def check_again(_: Any) -> None:
            if not SpentTicket.objects.spend(ticket):
                raise InvalidChallengeError
            use.store(InvalidFactorError)

        proof = Proof(frozenset(use.method.split()), check_again)
        try:
            pair = finish_login(use.user, request=request, client=client, proof=proof)
        except InvalidCredentialsError:  # disabled or deleted
            raise InvalidFactorError from None
        except (EmailNotVerifiedError, SessionLimitReachedError) as refusal:
            name = use.user.get_username()
            login_failed.announce(user=use.user, client=client, identifier=name, reason=refusal.code)
            raise
    assert isinstance(pair, TokenPair)  # noqa: S101  # no gate asks again at level 2
    clear_wrong_tries(use.user)
    return pair, use


@contextmanager
def _counted_by_network(client: ClientInfo) -> Iterator[None]:
    """Count a wrong credential of a login without a name against its network. No user is known that it is a try at.

    Whether the limit is reached is looked at before the signature is verified. It is not counted before, because a
    signature cannot be guessed.

    Raises:
        ThrottledError: too many were wrong.
    """
    require_not_full(network_buckets("token_network", client), ThrottleSubject(client))
    try:
        yield
    except (InvalidFactorError, InvalidChallengeError) as error:
        factor_failed.announce(user=None, client=client, reason=error.code, method=KIND)
        if isinstance(error, InvalidFactorError):
            count_refused_token(client)
        raise


# Step-up


def step_up_options(*, session: UserSession) -> Ceremony:
    """Begin a step-up with a passkey of the user. Only this session can finish.

    Raises:
        WrongFactorError: the user has no passkey. A browser would take an empty list for any passkey.
    """
    purpose = TicketPurpose.PASSKEY_STEP_UP
    allow = [passkey.descriptor for passkey in Passkey.objects.of_user(session.user_id)]
    if not allow:
        raise WrongFactorError
    return _options(issue_ticket(purpose, {"session": str(session.pk)}), purpose, allow=allow)


@sensitive_variables()
def step_up_by_passkey(
    *, session: UserSession, challenge_token: str, credential: Any, client: ClientInfo
) -> SteppedUp:
    """Make a step-up with a passkey.

    Raises:
        InvalidCeremonyError: the challenge is not genuine, of another session, expired or used.
        WrongFactorError: the credential is not accepted.
        ThrottledError: too many were wrong.
        SessionEndedError: the session ended in the meantime.
    """
    with counted_step_up(session, name=KIND, client=client):
        ticket = _ticket_of(session, challenge_token, TicketPurpose.PASSKEY_STEP_UP)
        with _refused_as(WrongFactorError):
            use = _verified(credential, ticket, user_id=session.user_id, client=client)

        def prove(_: Any) -> None:
            if not SpentTicket.objects.spend(ticket):
                raise InvalidCeremonyError
            use.store(WrongFactorError)

        return step_up(session=session, method=use.method, name=KIND, client=client, prove=prove)
