"""Pending logins: a first factor was right, and a second one is due. Nothing is stored until it was proved.

What is pending is a signed ticket. It is void when it has been used, after ten minutes, after five wrong tries, and
when the password, the address or the factors of the user change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals as kit_signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.devices import is_remembered
from ninja_auth_kit.contrib.factors.exceptions import InvalidChallengeError, InvalidFactorError
from ninja_auth_kit.contrib.factors.kinds import methods_of
from ninja_auth_kit.contrib.factors.models import Confirmed, Factor
from ninja_auth_kit.contrib.factors.notices import FactorEmail, promise_notice
from ninja_auth_kit.contrib.factors.recovery_codes import use_code
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, SessionLimitReachedError
from ninja_auth_kit.levels import level_of
from ninja_auth_kit.models import SpentTicket, ThrottleBucket
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.models.users import user_by_pk
from ninja_auth_kit.services.internal.finish_login import PendingLogin, Proof, finish_login
from ninja_auth_kit.services.internal.limits import ThrottleSubject, buckets_for, throttled
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.internal.throttling import count_refused_token, login_buckets
from ninja_auth_kit.tokens import InvalidTicketError, Ticket, TicketPurpose, bucket_id, issue_ticket, read_ticket
from ninja_auth_kit.tokens.digests import digest, is_digest_of
from ninja_auth_kit.tokens.tickets import LIFETIME

TRIES = 5  # for one pending login; not a rule of `THROTTLES`
_STATE = "pending login"
_CONTINUED = "login"  # the member of a ticket that has the digest of the pending login


def ask_for_factor(user: Any, proof: Proof, *, client: ClientInfo, device_token: str | None) -> Proof | PendingLogin:
    """Return the proof of a login if it is enough, or the pending login. `finish_login` asks this in each login.

    Args:
        user: the locked user.
        proof: what was proved.
        client: the client of the request.
        device_token: the token of a remembered device, as received.
    """
    if level_of(proof.methods) == 2:
        return proof
    confirmed = Factor.objects.confirmed(user)
    if not confirmed.are_asked_for:
        return proof
    state = confirmed.state_of(user)
    if device_token is not None and is_remembered(device_token, user=user, state=state):
        return replace(proof, methods=proof.methods | {"dev"})
    methods = methods_of(confirmed.kinds.values())
    payload = {
        "user": str(user.pk),
        "methods": sorted(proof.methods),
        "state": digest(_STATE, f"{user.pk} {state}"),
    }
    signals.factor_requested.announce(user=user, client=client, methods=list(methods))
    token = issue_ticket(TicketPurpose.LOGIN, payload)
    return PendingLogin(token, methods, int(LIFETIME.total_seconds()))


@dataclass(frozen=True)
class Pending:
    """A genuine challenge of a pending login.

    Attributes:
        user_id: the primary key of the user.
        methods: what was proved.
    """

    ticket: Ticket
    user_id: Any
    methods: frozenset[str]

    def is_bound_to(self, user: Any) -> bool:
        """Return whether the account and its factors are as they were."""
        return self.is_of(user, Factor.objects.confirmed(user))

    def is_valid(self, user: Any) -> bool:
        """Return whether the challenge was not used, and the account and its factors are as they were."""
        return self.is_bound_to(user) and not SpentTicket.objects.filter(digest=self.ticket.digest).exists()

    def is_of(self, user: Any, confirmed: Confirmed) -> bool:
        """Return whether the account is as it was, and these are its factors."""
        return is_digest_of(self.ticket.payload["state"], _STATE, f"{user.pk} {confirmed.state_of(user)}")


def read_challenge(token: str, *, client: ClientInfo) -> Pending:
    """Return the pending login of a challenge.

    Raises:
        InvalidChallengeError: it is not genuine, or has expired. Whether it was used, or the account has changed, is
            checked under the lock of the user.
        ThrottledError: too many rejected tokens from this network.
    """
    return _pending_of(read_login_ticket(token, TicketPurpose.LOGIN, client=client), client)


def read_login_ticket(token: str, purpose: TicketPurpose, *, client: ClientInfo) -> Ticket:
    """Return the ticket of a step of a login.

    Raises:
        InvalidChallengeError: it is not genuine, is for another purpose, or has expired.
        ThrottledError: too many rejected tokens from this network.
    """
    try:
        return read_ticket(token, purpose)
    except InvalidTicketError:
        count_refused_token(client)
        raise _refused(None, client) from None


def _pending_of(ticket: Ticket, client: ClientInfo) -> Pending:
    try:
        user_id = get_user_model()._meta.pk.to_python(ticket.payload["user"])
    except ValidationError:  # the type of the key has changed since
        raise _refused(None, client) from None
    return Pending(ticket, user_id, frozenset(ticket.payload["methods"]))


def continue_login(pending: Pending, purpose: TicketPurpose) -> str:
    """Return the ticket of a ceremony that completes a pending login. It expires together with the pending login."""
    payload = {**pending.ticket.payload, _CONTINUED: pending.ticket.digest}
    return issue_ticket(purpose, payload, issued_at=pending.ticket.expires_at - LIFETIME)


def continued_login(ticket: Ticket, *, client: ClientInfo) -> Pending | None:
    """Return the pending login that the ticket of a ceremony completes, or None if it completes none.

    Tries count for the pending login, and success uses that up, however many ceremonies were begun for it.

    Raises:
        InvalidChallengeError: the type of the users' primary key has changed since.
    """
    digest_of_login = ticket.payload.get(_CONTINUED)
    return None if digest_of_login is None else _pending_of(replace(ticket, digest=digest_of_login), client)


def factors_of(pending: Pending, *related: str, client: ClientInfo) -> list[Factor]:
    """Return the confirmed factors of a pending login, with one query.

    Args:
        pending: the pending login.
        related: what to read with each factor, such as "passkey".
        client: the client of the request.

    Raises:
        InvalidChallengeError: the challenge was used, or is void since the account changed.
    """
    spent = SpentTicket.objects.filter(digest=pending.ticket.digest)
    rows = Factor.objects.filter(user=pending.user_id, confirmed_at__isnull=False)
    factors: list[Any] = list(
        rows.select_related("user", *related).annotate(is_spent=Exists(spent)).order_by("confirmed_at", "pk")
    )
    confirmed = Confirmed(
        {factor.pk: factor.kind for factor in factors}, frozenset(factor.set_id for factor in factors)
    )
    if not factors or factors[0].is_spent or not pending.is_of(factors[0].user, confirmed):
        raise _refused(factors[0].user if factors else None, client)
    return factors


def _refused(user: Any | None, client: ClientInfo, method: str | None = None) -> InvalidChallengeError:
    signals.factor_failed.announce(user=user, client=client, reason=InvalidChallengeError.code, method=method)
    return InvalidChallengeError()


@contextmanager
def counted_try(pending: Pending, *, method: str, client: ClientInfo, by_account: bool = True) -> Iterator[None]:
    """Count a try before anything is decrypted or compared, and give it back unless the factor was wrong.

    The fifth wrong one uses the challenge up, and the owner gets an email: somebody has the password (ASVS 6.3.5).

    Args:
        pending: the pending login.
        method: for the audit event.
        client: the client of the request.
        by_account: whether wrong tries count for the user, from any network. Only codes that can be guessed do, or a
            stolen password could keep its owner from the recovery codes for weeks.

    Raises:
        InvalidChallengeError: there were five wrong tries.
        ThrottledError: too many codes of the user were wrong.
    """
    own = _bucket(pending)
    account = buckets_for("factor_account", str(pending.user_id)) if by_account else []
    hits = _take(pending, own, account, client)
    try:
        yield
    except InvalidFactorError:
        user = user_by_pk(pending.user_id)
        # Attack: with a void challenge, find out codes, or close the login of an owner who has a new password.
        if user is None or not pending.is_valid(user):
            ThrottleBucket.objects.give_back(hits)
            raise _refused(user, client, method) from None
        signals.factor_failed.announce(user=user, client=client, reason=InvalidFactorError.code, method=method)
        if ThrottleBucket.objects.full([own]):
            _use_up(pending, user, client)
        raise
    except InvalidChallengeError:
        ThrottleBucket.objects.give_back(hits)
        signals.factor_failed.announce(
            user=user_by_pk(pending.user_id), client=client, reason=InvalidChallengeError.code, method=method
        )
        raise
    except Exception:
        ThrottleBucket.objects.give_back(hits)
        raise


def _bucket(pending: Pending) -> Bucket:
    return Bucket(bucket_id(f"factor_ticket {pending.ticket.digest}"), "factor_ticket", TRIES, timedelta(minutes=10))


def _take(pending: Pending, own: Bucket, account: list[Bucket], client: ClientInfo) -> list[Hit]:
    hits = ThrottleBucket.objects.take([own, *account])
    if hits is not None:
        return hits
    full = ThrottleBucket.objects.full([own, *account])
    if any(bucket.pk == own.id for bucket in full):
        raise _refused(user_by_pk(pending.user_id), client)
    raise throttled(full, ThrottleSubject(client))


def _use_up(pending: Pending, user: Any, client: ClientInfo) -> None:
    with atomic():
        if SpentTicket.objects.spend(pending.ticket):
            promise_notice(FactorEmail.FACTOR_GUESSED, user, client)


@sensitive_variables()
def complete(
    pending: Pending, user: Any, *, method: str, prove: Callable[[Any], None], request: HttpRequest, client: ClientInfo
) -> TokenPair:
    """Start the session of a pending login.

    Args:
        pending: the pending login.
        user: its user.
        method: what was proved in addition, of `levels.METHODS`; several with spaces.
        prove: called with the locked user in the transaction. It uses up what was proved, or raises
            `InvalidFactorError`.
        request: the request.
        client: its client.

    Raises:
        InvalidChallengeError: the challenge was used, or is void since the account changed.
        EmailNotVerifiedError: the email address is not verified any more.
        SessionLimitReachedError: there is no free session. Nothing was used up.
    """

    locked = user

    def check_again(current: Any) -> None:
        nonlocal locked
        locked = current
        if not pending.is_bound_to(current) or not SpentTicket.objects.spend(pending.ticket):
            raise InvalidChallengeError
        prove(current)

    proof = Proof(pending.methods | frozenset(method.split()), check_again)
    try:
        pair = finish_login(user, request=request, client=client, proof=proof)
    except InvalidCredentialsError:  # disabled or deleted since
        raise InvalidChallengeError from None
    except (EmailNotVerifiedError, SessionLimitReachedError) as refusal:
        kit_signals.login_failed.announce(
            user=user, client=client, identifier=user.get_username(), reason=refusal.code
        )
        raise
    assert isinstance(pair, TokenPair)  # noqa: S101  # no gate asks again at level 2
    clear_wrong_tries(locked)  # its address is loaded
    return pair


def clear_wrong_tries(user: Any) -> None:
    """Forget the wrong codes and the wrong passwords of the account, now that its owner is in."""
    cleared = [*buckets_for("factor_account", str(user.pk)), *login_buckets(user)]
    now = timezone.now()
    hits = [Hit(bucket, now) for bucket in cleared]
    ThrottleBucket.objects.give_back(hits, clearing=cleared)


@sensitive_variables()
def login_by_recovery_code(
    *, challenge_token: str, code: str, request: HttpRequest, client: ClientInfo
) -> tuple[TokenPair, int]:
    """Complete a pending login with a recovery code, and return the tokens and how many codes are left.

    Args:
        challenge_token: as received.
        code: as typed, in any case, with or without dashes.
        request: the request.
        client: its client.

    Raises:
        InvalidChallengeError: the challenge is not genuine, expired, used, or void since the account changed.
        InvalidFactorError: the code is wrong or was used.
        SessionLimitReachedError: there is no free session. The code was not used up.
        ThrottledError: too many rejected challenges from this network.
    """
    pending = read_challenge(challenge_token, client=client)
    left: list[int] = []

    def prove(user: Any) -> None:
        remaining = use_code(code, user=user, client=client)
        if remaining is None:
            raise InvalidFactorError
        left.append(remaining)

    with counted_try(pending, method="recovery_code", client=client, by_account=False):
        user = user_by_pk(pending.user_id)
        if user is None:
            raise InvalidChallengeError
        pair = complete(pending, user, method="rec", prove=prove, request=request, client=client)
    return pair, left[-1]
