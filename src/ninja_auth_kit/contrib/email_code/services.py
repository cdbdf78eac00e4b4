"""Login by a code in an email: request one, log in with it, and register with it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.email_code.codes import normalized
from ninja_auth_kit.contrib.email_code.exceptions import InvalidCodeChallengeError, InvalidCodeError
from ninja_auth_kit.contrib.email_code.mailing import promise_code, registers
from ninja_auth_kit.contrib.email_code.models import LoginCode, burn_comparison, key_of
from ninja_auth_kit.contrib.email_code.signals import login_code_requested
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    InvalidCredentialsError,
    InvalidInputError,
    RegistrationClosedError,
    SessionLimitReachedError,
)
from ninja_auth_kit.models import SpentTicket, ThrottleBucket
from ninja_auth_kit.models.email_addresses import InvalidEmailError, counted_spelling
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.models.users import (
    find_holder,
    has_username,
    is_pending,
    is_verified,
    lock_user,
    mark_address_verified,
)
from ninja_auth_kit.services.internal.finish_login import PendingLogin, Proof, finish_login
from ninja_auth_kit.services.internal.limits import ThrottleSubject, buckets_for, throttled
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.internal.throttling import (
    count_email_request,
    count_or_admit,
    count_refused_token,
    count_request,
    login_buckets,
)
from ninja_auth_kit.services.internal.user_fields import check_email, find_account
from ninja_auth_kit.services.proved_registration import AddressInUseError, register_proved_address
from ninja_auth_kit.services.registration import Standing
from ninja_auth_kit.signals import email_verified, login_failed, registration_failed
from ninja_auth_kit.tokens import InvalidTicketError, Ticket, TicketPurpose, bucket_id, issue_ticket, read_ticket
from ninja_auth_kit.tokens.tickets import LIFETIME

TRIES = 5  # for one ticket; not a rule of `THROTTLES`
PROOF = frozenset({"email"})


@dataclass(frozen=True)
class UsernameRequired:
    """The code was right, and registers an address. The account needs a username first.

    Attributes:
        signup_token: what must come with the username.
        expires_in: seconds.
    """

    signup_token: str = field(repr=False)
    expires_in: int


def request_code(*, email: str, client: ClientInfo) -> str:
    """Send a login code to an address, and return the challenge. The caller does not learn whether one is sent.

    Args:
        email: as typed; an account gets the email at the spelling that it has.
        client: the caller.

    Raises:
        InvalidInputError: `email` is not a valid address.
        ThrottledError: too many requests from this network, or too many emails for it.
    """
    count_email_request(client)
    user = find_account(email)
    if registers():
        check_email(email)
    token = issue_ticket(TicketPurpose.EMAIL_CODE, {"email": email})
    login_code_requested.announce(user=user, client=client, identifier=email)
    promise_code(email, read_ticket(token, TicketPurpose.EMAIL_CODE), client=client)
    return token


@sensitive_variables()
def login_by_code(
    *, challenge_token: str, code: str, device_token: str | None, request: HttpRequest, client: ClientInfo
) -> TokenPair | PendingLogin | UsernameRequired:
    """Log in with a code, or register the address that it was sent to.

    Args:
        challenge_token: that of `request_code`, as received.
        code: as typed, in any case, with or without dashes.
        device_token: the token of a remembered device, if `ninja_auth_kit.contrib.factors` remembers devices.
        request: the request.
        client: its client.

    Returns:
        The tokens; a `PendingLogin` if the user has a second factor, because a mailed code is not one; or
        `UsernameRequired` if the code registers the address and users have a username.

    Raises:
        InvalidCodeChallengeError: the challenge is not genuine, expired, used, or void since the account changed.
        InvalidCodeError: the code is wrong, or its user is disabled.
        SessionLimitReachedError: there is no free session. Neither the code nor the challenge was used up.
        ThrottledError: too many codes of the address were wrong, or too many challenges from this network.
    """
    ticket = _read(challenge_token, TicketPurpose.EMAIL_CODE, client=client)
    row = LoginCode.objects.of_ticket(ticket)
    holder = None if row is None else row.user
    with _counted_try(ticket, holder=holder, client=client) as attempt:
        _check_code(row, ticket, normalized(code))
        assert row is not None  # noqa: S101  # otherwise the code was wrong
        if row.used_at is not None:
            raise InvalidCodeChallengeError
        if row.user is None:
            attempt.result = _register(row, ticket, request=request, client=client)
        else:
            attempt.result = _login(row, ticket, request=request, client=client, device_token=device_token)
    return attempt.result


def _read(token: str, purpose: TicketPurpose, *, client: ClientInfo) -> Ticket:
    try:
        return read_ticket(token, purpose)
    except InvalidTicketError:
        count_refused_token(client)
        login_failed.announce(user=None, client=client, identifier=None, reason=InvalidCodeChallengeError.code)
        raise InvalidCodeChallengeError from None


@sensitive_variables()
def _check_code(row: LoginCode | None, ticket: Ticket, code: str) -> None:
    """Raise an error if it is not the code of the ticket, after one comparison in every case."""
    if row is None:
        burn_comparison(key_of(ticket), ticket.payload["email"], code)
        raise InvalidCodeError
    if not row.is_code(code):
        raise InvalidCodeError


def _use_up(row: LoginCode, ticket: Ticket) -> None:
    """Use the code and its ticket up in the open transaction.

    Raises:
        InvalidCodeChallengeError: one of them was used.
    """
    if not LoginCode.objects.use(row) or not SpentTicket.objects.spend(ticket):
        raise InvalidCodeChallengeError


# Tries


@dataclass
class _Attempt:
    """A try that was counted. Set its result."""

    result: TokenPair | PendingLogin | UsernameRequired = field(init=False)


@contextmanager
def _counted_try(ticket: Ticket, *, holder: Any | None, client: ClientInfo) -> Iterator[_Attempt]:
    """Count a try before the code is compared, and give it back unless the code was wrong.

    The tries of a ticket are a fixed number. Those of its address are counted whether or not an account has it; a
    login in a network that the account knows is counted apart, so that strangers do not keep the owner out.

    Raises:
        InvalidCodeChallengeError: there were five wrong tries with the ticket.
        ThrottledError: too many codes for the address were wrong.
    """
    email = ticket.payload["email"]
    own = Bucket(bucket_id(f"code_ticket {ticket.digest}"), "code_ticket", TRIES, LIFETIME)
    name = f"code for {counted_spelling(email)}"
    account = buckets_for("code_account", name)

    def failed(error: InvalidCodeError | InvalidCodeChallengeError) -> None:
        login_failed.announce(user=holder, client=client, identifier=email, reason=error.code)

    hits: list[Hit] = []
    try:
        subject = ThrottleSubject(client, holder, email)
        hits, elsewhere = count_or_admit(
            [*account, own], [], name=name, holder=holder, subject=subject, count=_count_with(own)
        )
        yield (attempt := _Attempt())
    except InvalidCodeError as error:
        failed(error)
        if ThrottleBucket.objects.full([own]):
            SpentTicket.objects.spend(ticket)
        if elsewhere is not None:  # the answer must not reveal that the account knows the network
            raise elsewhere from None
        raise
    except InvalidCodeChallengeError as error:
        ThrottleBucket.objects.give_back(hits)
        failed(error)
        raise
    except Exception:
        ThrottleBucket.objects.give_back(hits)
        raise
    _succeeded(attempt, hits, account, holder)


def _count_with(own: Bucket) -> Callable[[Sequence[Bucket], ThrottleSubject], list[Hit]]:
    """Return a function that counts a try. Each is one of the ticket, even if the limit of the address is reached.

    Attack: fill the limit of an address, and try wrong codes. If only the tries that the account's network admits used
    up the ticket, its end would reveal that the account knows the network.
    """
    taken: list[Hit] = []

    def count(buckets: Sequence[Bucket], subject: ThrottleSubject) -> list[Hit]:
        hits = ThrottleBucket.objects.take(buckets)
        if hits is not None:
            return [*taken, *hits]
        full = ThrottleBucket.objects.full(buckets)
        if not taken:
            of_ticket = None if any(row.pk == own.id for row in full) else ThrottleBucket.objects.take([own])
            if of_ticket is None:
                raise InvalidCodeChallengeError
            taken.extend(of_ticket)
        raise throttled(full, subject)

    return count


def _succeeded(attempt: _Attempt, hits: list[Hit], account: list[Bucket], holder: Any | None) -> None:
    """Give the hits back; and if there is a session, forget the wrong codes and passwords of the account."""
    cleared: list[Bucket] = []
    if isinstance(attempt.result, TokenPair):
        cleared = [*account, *([] if holder is None else login_buckets(holder))]
    taken = {hit.bucket.id for hit in hits}
    now = timezone.now()
    others = [Hit(bucket, now) for bucket in cleared if bucket.id not in taken]
    ThrottleBucket.objects.give_back([*hits, *others], clearing=cleared)


# The login of a user


def _login(
    row: LoginCode, ticket: Ticket, *, request: HttpRequest, client: ClientInfo, device_token: str | None
) -> TokenPair | PendingLogin:
    """Start the session of the user whom the code was sent for, and verify the address, which the code has proved."""

    def check_again(current: Any) -> None:
        if not row.is_bound_to(current):
            raise InvalidCodeChallengeError
        _use_up(row, ticket)

    proof = Proof(PROOF, check_again)
    try:
        # One transaction only if it is needed: `finish_login` runs code of the project before its own.
        with nullcontext() if is_verified(row.user) else atomic():
            user = row.user if is_verified(row.user) else _with_verified_address(row, client=client)
            return finish_login(user, request=request, client=client, proof=proof, device_token=device_token)
    except InvalidCredentialsError:  # disabled or deleted since
        raise InvalidCodeError from None
    except (EmailNotVerifiedError, IntegrityError, InvalidEmailError):  # another address; or another user verified it
        raise InvalidCodeChallengeError from None
    except SessionLimitReachedError as refusal:
        login_failed.announce(user=row.user, client=client, identifier=row.email, reason=refusal.code)
        raise


def _with_verified_address(row: LoginCode, *, client: ClientInfo) -> Any:
    """Verify the address of a user from elsewhere in the open transaction, and return the user.

    Raises:
        InvalidCodeChallengeError: the account has changed.
    """
    user = lock_user(row.user_id)
    if user is None or not row.is_bound_to(user) or is_pending(user):
        raise InvalidCodeChallengeError
    if not is_verified(user):
        mark_address_verified(user, row.email)
        email_verified.announce(user=user, client=client)
    return lock_user(row.user_id)  # with the address as it is now


# Registration


def _register(
    row: LoginCode, ticket: Ticket, *, request: HttpRequest, client: ClientInfo
) -> TokenPair | UsernameRequired:
    """Register the address that the code was sent to; or, if users have a username, ask for it first."""
    if not registers() or not row.is_bound_to(None):
        raise InvalidCodeChallengeError
    if has_username():
        if Standing.of(find_holder(row.email)) is Standing.TAKEN:
            raise InvalidCodeChallengeError
        with atomic():
            _use_up(row, ticket)
        token = issue_ticket(TicketPurpose.EMAIL_CODE_SIGNUP, {"email": row.email})
        return UsernameRequired(token, int(LIFETIME.total_seconds()))
    return _start_account(
        row.email, username=None, use_up=lambda: _use_up(row, ticket), request=request, client=client
    )


def sign_up(*, signup_token: str, username: str, request: HttpRequest, client: ClientInfo) -> TokenPair:
    """Create the account of an address that a code has proved, and log in.

    Args:
        signup_token: that of `UsernameRequired`, as received.
        username: as typed.
        request: the request.
        client: its client.

    Raises:
        InvalidCodeChallengeError: the token is not genuine, expired or used, or the address has an account by now.
        InvalidInputError: the username is not valid or taken. The token was not used up.
        ThrottledError: too many requests, or too many rejected tokens, from this network.
    """
    ticket = _read(signup_token, TicketPurpose.EMAIL_CODE_SIGNUP, client=client)
    email = ticket.payload["email"]
    count_request(client)

    def use_up() -> None:
        if not SpentTicket.objects.spend(ticket):
            raise InvalidCodeChallengeError

    try:
        if not registers() or not has_username():
            raise InvalidCodeChallengeError
        return _start_account(email, username=username, use_up=use_up, request=request, client=client)
    except InvalidCodeChallengeError as error:
        login_failed.announce(user=None, client=client, identifier=email, reason=error.code)
        raise


def _start_account(
    email: str, *, username: str | None, use_up: Callable[[], None], request: HttpRequest, client: ClientInfo
) -> TokenPair:
    def start(user: Any) -> TokenPair:
        use_up()
        pair = finish_login(user, request=request, client=client, proof=Proof(PROOF))
        assert isinstance(pair, TokenPair)  # noqa: S101  # a new user has no second factor
        return pair

    try:
        return register_proved_address(email=email, username=username, client=client, start=start)
    except (AddressInUseError, RegistrationClosedError, InvalidCredentialsError):  # the last: a backend refuses users
        raise InvalidCodeChallengeError from None
    except InvalidInputError as error:
        registration_failed.announce(user=None, client=client, identifier=email, reason=error.errors[0].code)
        raise
