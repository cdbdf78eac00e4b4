"""Login by a proved identity: find its account, or register one. The rules are in the order of `log_in`."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors.pending import clear_wrong_tries
from ninja_auth_kit.contrib.oidc.claims import ProvedIdentity
from ninja_auth_kit.contrib.oidc.exceptions import (
    AccountExistsError,
    InvalidFlowError,
    ProviderEmailNotVerifiedError,
)
from ninja_auth_kit.contrib.oidc.identities import add_identity
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.notices import IdentityEmail, promise_notice
from ninja_auth_kit.contrib.oidc.providers import Provider
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    InvalidCredentialsError,
    InvalidInputError,
    RegistrationClosedError,
)
from ninja_auth_kit.models import SpentTicket
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.users import (
    find_holder,
    has_address,
    has_username,
    is_pending,
    is_verified,
    lock_user,
    mark_address_verified,
    may_authenticate,
)
from ninja_auth_kit.services.internal.finish_login import PendingLogin, Proof, finish_login
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.proved_registration import AddressInUseError, register_proved_address
from ninja_auth_kit.services.registration import Standing
from ninja_auth_kit.signals import email_verified, registration_failed
from ninja_auth_kit.tokens import Ticket, TicketPurpose, issue_ticket
from ninja_auth_kit.tokens.tickets import LIFETIME

PROOF = frozenset({"fed"})


@dataclass(frozen=True)
class UsernameRequired:
    """The provider has proved an identity that registers an account. The account needs a username first.

    Attributes:
        signup_token: what must come with the username.
        expires_in: seconds.
    """

    signup_token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class ProviderLogin:
    """A login that a provider has proved.

    Attributes:
        ticket: what is used up with it.
        device_token: that of a remembered device, as received, or None.
    """

    provider: Provider
    ticket: Ticket
    proved: ProvedIdentity
    request: HttpRequest
    client: ClientInfo
    device_token: str | None = field(default=None, repr=False)


class RaceLostError(Exception):
    """A parallel login has linked the identity, or has created an account with its address."""


@sensitive_variables()
def log_in(login: ProviderLogin) -> TokenPair | PendingLogin | UsernameRequired:
    """Log in, register, or link and log in.

    1. The identity is known: its user, whatever the address says now.
    2. The provider is not trusted for addresses, or has verified none: refused.
    3. An account has the address: refused, unless the provider may link it.
    4. Otherwise an account is registered, in place of a registration that waits for its verification.

    Raises:
        InvalidFlowError: the flow was used.
        InvalidCredentialsError: the user is disabled, or the kit has not written the row of the identity as it is.
        ProviderEmailNotVerifiedError: the provider has vouched for no address.
        EmailNotVerifiedError: the address of the account is not verified.
        AccountExistsError: another account has the address.
        RegistrationClosedError: the provider does not register accounts.
        SessionLimitReachedError: there is no free session. Nothing was used up.
    """
    for _attempt in range(3):
        row = Identity.objects.load(issuer=login.proved.issuer, subject=login.proved.subject)
        try:
            return _new_login(login) if row is None else _known_login(login, row)
        except RaceLostError:
            continue
    raise InvalidFlowError


def _known_login(login: ProviderLogin, row: Any) -> TokenPair | PendingLogin:
    if not row.is_shown or not row.is_genuine:
        raise InvalidCredentialsError

    def check_again(user: Any) -> None:
        _spend(login.ticket)
        use_identity(row, user)

    # One transaction only if it is needed: `finish_login` runs code of the project before its own.
    with nullcontext() if is_verified(row.user) else atomic():
        user = row.user if is_verified(row.user) else _with_verified_address(login, row)
        result = _finish(login, user, check_again)
    if isinstance(result, TokenPair):
        clear_wrong_tries(user)
    return result


def use_identity(row: Any, user: Any) -> None:
    """Store the use of an identity in the open transaction, and seal it again if its root secret was replaced.

    Raises:
        InvalidFlowError: it was unlinked in the meantime.
    """
    rows = Identity.objects.filter(pk=row.pk, user=user.pk)
    if not rows.update(last_used_at=timezone.now(), seal=row.resealed()):
        raise InvalidFlowError


def _spend(ticket: Ticket) -> None:
    if not SpentTicket.objects.spend(ticket):
        raise InvalidFlowError


def _finish(
    login: ProviderLogin, user: Any, check_again: Callable[[Any], None] = lambda _: None
) -> TokenPair | PendingLogin:
    return finish_login(
        user,
        request=login.request,
        client=login.client,
        proof=Proof(PROOF, check_again),
        device_token=login.device_token,
    )


def _with_verified_address(login: ProviderLogin, row: Any) -> Any:
    """Return the locked user of an identity, whose address is verified if a trusted provider vouches for that one.

    A user from elsewhere has no verified address, and may have an identity that was imported.
    """
    user, proved = lock_user(row.user_id), login.proved
    is_vouched = login.provider.email_trusted and proved.is_email_verified
    if user is None:
        raise InvalidCredentialsError
    if is_verified(user) or is_pending(user) or not is_vouched or not has_address(user, canonical_email(proved.email)):
        return user
    if _is_address_of_other(user, proved.email):
        return user
    try:
        mark_address_verified(user, proved.email)
    except IntegrityError:  # another user has verified it at the same time
        raise EmailNotVerifiedError from None
    email_verified.announce(user=user, client=login.client)
    return lock_user(user.pk)


def _is_address_of_other(user: Any, email: str) -> bool:
    holder = find_holder(email)
    return holder is not None and holder.pk != user.pk and is_verified(holder)


# An identity that is not linked yet


def _new_login(login: ProviderLogin) -> TokenPair | PendingLogin | UsernameRequired:
    provider, proved = login.provider, login.proved
    if not provider.email_trusted or not proved.is_email_verified:
        raise ProviderEmailNotVerifiedError
    holder = find_holder(proved.email)
    if Standing.of(holder) is not Standing.TAKEN:
        return _register(login)
    if provider.links_verified_email and proved.is_authority and is_verified(holder) and may_authenticate(holder):
        return _link_and_log_in(login, holder)
    raise _taken(proved)


def _link_and_log_in(login: ProviderLogin, holder: Any) -> TokenPair | PendingLogin:
    """Link an identity to the account whose verified address its provider is the authority of."""

    def check_again(user: Any) -> None:
        if not has_address(user, canonical_email(login.proved.email)) or not is_verified(user):
            raise AccountExistsError
        _spend(login.ticket)
        if add_identity(user, login.provider.id, login.proved, client=login.client) is None:
            raise _taken(login.proved)  # or the account has another identity of this issuer
        promise_notice(IdentityEmail.IDENTITY_LINKED, user, login.client, provider=login.provider.id)

    return _finish(login, holder, check_again)


def _taken(proved: ProvedIdentity) -> Exception:
    """Return the error for an address that another account has: unless a parallel login has linked the identity."""
    is_linked = Identity.objects.filter(issuer=proved.issuer, subject=proved.subject).exists()
    return RaceLostError() if is_linked else AccountExistsError()


@sensitive_variables()
def _register(login: ProviderLogin) -> TokenPair | PendingLogin | UsernameRequired:
    if not registers():
        raise RegistrationClosedError
    if not has_username():
        return start_account(login, username=None)
    with atomic():
        _spend(login.ticket)
    proved = login.proved
    payload = {
        "provider": login.provider.id,
        "issuer": proved.issuer,
        "subject": proved.subject,
        "email": proved.email,
    }
    token = issue_ticket(TicketPurpose.PROVIDER_SIGNUP, payload)
    return UsernameRequired(token, int(LIFETIME.total_seconds()))


def registers() -> bool:
    """Return whether a provider registers an address that has no account."""
    return bool(settings.OIDC["REGISTERS"] and settings.REGISTRATION_OPEN)


@sensitive_variables()
def start_account(login: ProviderLogin, *, username: str | None) -> TokenPair | PendingLogin:
    """Create the account of an identity whose address was proved, and log in.

    Attack: a stranger registers the address of another person, and waits until its owner proves it. So nothing of
    a pending registration survives, see `register_proved_address`.

    Raises:
        InvalidFlowError: the ticket was used.
        InvalidInputError: the username is not valid or taken, or the user model does not accept the address.
        RegistrationClosedError: `REGISTRATION_OPEN` is False.
    """
    email = login.proved.email

    def start(user: Any) -> TokenPair | PendingLogin:
        _spend(login.ticket)
        if add_identity(user, login.provider.id, login.proved, client=login.client) is None:
            raise RaceLostError
        return _finish(login, user)

    try:
        return register_proved_address(email=email, username=username, client=login.client, start=start)
    except AddressInUseError:
        raise _taken(login.proved) from None
    except InvalidInputError as error:
        registration_failed.announce(user=None, client=login.client, identifier=email, reason=error.errors[0].code)
        raise
