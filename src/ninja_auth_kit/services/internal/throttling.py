"""Throttling: what is counted for each use case, before any work is done.

A hit is counted first and given back if the password is right, so that fifty parallel guesses count as fifty. Hits are
counted for an account as it was typed, whether or not it exists; for a network; for both together; or for the
recipient of an email. The setting `THROTTLES` has the rates.
"""

import ipaddress
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, ThrottledError
from ninja_auth_kit.models import ShadowRegistration, ThrottleBucket, UserSession
from ninja_auth_kit.models.email_addresses import counted_spelling
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.models.users import has_username, stored_email
from ninja_auth_kit.services.internal.limits import (
    ThrottleSubject,
    buckets_for,
    network_buckets,
    require_not_full,
    site_network,
    take_hits,
)
from ninja_auth_kit.services.internal.password_hashing import HashSlot, hash_slot
from ninja_auth_kit.services.internal.uniform import burn_bucket_lookup
from ninja_auth_kit.tokens import password_fingerprints

# How long after its last refresh a session makes the network that it was started from a known one.
_KNOWN_FOR = timedelta(days=60)

# `take_hits`, or `require_not_full` to count nothing.
Count = Callable[[Sequence[Bucket], ThrottleSubject], list[Hit]]


@dataclass
class AdmittedLogin:
    """A login that was counted.

    Attributes:
        slot: the slot for hashing.
        is_pending: set it if a second factor is due: the right password then clears no wrong ones.
    """

    slot: HashSlot
    is_pending: bool = False


@dataclass(frozen=True)
class LoginHits:
    """The hits of a login.

    Attributes:
        account: the hits of the account.
        network: the hits of the network, as a login.
        hashes: the hits of the network, as a password that is hashed.
        elsewhere: the error that a client in an unknown network would have got, if the login was admitted only because
            the account knows the network.
    """

    account: list[Hit]
    network: list[Hit]
    hashes: list[Hit]
    elsewhere: ThrottledError | None

    def succeeded(self) -> None:
        """Clear the buckets of the account, and give the hit of the network back."""
        ThrottleBucket.objects.give_back([*self.account, *self.network], clearing=[hit.bucket for hit in self.account])

    def failed(self, error: Exception) -> None:
        """Keep the hits of a wrong password.

        The right password of an unverified address counts against the network only: it may be the password of a
        registration that was turned away, chosen by an attacker who guesses at the account.

        Raises:
            ThrottledError: the login was admitted only because the account knows the network. The answer must not
                reveal that. Elsewhere the login would have counted no hit of the network, so these are given back.
        """
        if self.elsewhere is not None:
            ThrottleBucket.objects.give_back([*self.network, *self.hashes])
            raise self.elsewhere from None
        if isinstance(error, EmailNotVerifiedError):
            ThrottleBucket.objects.give_back(self.account)

    def refund(self) -> None:
        """Give the hits back, except that of the hash: the login failed for a reason that a guess cannot cause."""
        ThrottleBucket.objects.give_back([*self.account, *self.network])


@contextmanager
def login_attempt(
    *, identifier: str, by_email: bool, holder: Any | None, client: ClientInfo
) -> Iterator[AdmittedLogin]:
    """Count a login against its account and its network, and hold a slot for hashing.

    Args:
        identifier: the email address or the username, as typed.
        by_email: whether it is an email address.
        holder: the user who has it, or None.
        client: the client of the request.

    Raises:
        ThrottledError: too many logins have failed.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    account = _account_name(identifier, by_email=by_email, holder=holder)
    admit = partial(_admit_login, account, holder=holder, subject=ThrottleSubject(client, holder, identifier))
    with hash_slot(before_waiting=partial(admit, require_not_full)) as slot:
        hits, admitted = admit(take_hits), AdmittedLogin(slot)
        try:
            yield admitted
        except (InvalidCredentialsError, EmailNotVerifiedError) as error:
            hits.failed(error)
            raise
        except Exception:
            hits.refund()
            raise
    if admitted.is_pending:
        hits.refund()
    else:
        hits.succeeded()


def _admit_login(account: str, count: Count, *, holder: Any | None, subject: ThrottleSubject) -> LoginHits:
    """Count a login, or only check that it could be counted.

    If the limit of the account is reached, a client in a network that the account knows is admitted by another limit:
    guesses from elsewhere must not lock out the owner.

    Raises:
        ThrottledError: a limit is reached. It is the same error, with the same Retry-After, for every client.
    """
    client = subject.client or ClientInfo()
    others = [*network_buckets("login_network", client), *network_buckets("hash_network", client)]
    own = buckets_for("login_account", account)
    hits, elsewhere = count_or_admit(own, others, name=account, holder=holder, subject=subject, count=count)
    return LoginHits(
        account=[hit for hit in hits if hit.bucket.rule in {"login_account", "login_known_network"}],
        network=[hit for hit in hits if hit.bucket.rule == "login_network"],
        hashes=[hit for hit in hits if hit.bucket.rule == "hash_network"],
        elsewhere=elsewhere,
    )


def count_or_admit(
    own: Sequence[Bucket],
    others: Sequence[Bucket],
    *,
    name: str,
    holder: Any | None,
    subject: ThrottleSubject,
    count: Count,
) -> tuple[list[Hit], ThrottledError | None]:
    """Count hits; if the limit of the account is reached, admit a client in a network that the account knows.

    Args:
        own: the buckets of the account.
        others: the buckets that count for every client.
        name: the name of what is counted for the account; another limit counts it from the known network.
        holder: the user who has the account, or None.
        subject: who is counted.
        count: how to count.

    Returns:
        The hits, and the error that a client in an unknown network would have got, if there is one.

    Raises:
        ThrottledError: a limit is reached. It is the same error, with the same Retry-After, for every client.
    """
    network = None if subject.client is None else subject.client.network
    try:
        return count([*own, *others], subject), None
    except ThrottledError as elsewhere:
        if network is None or not _is_known_network(holder, network):
            raise
        known = buckets_for("login_known_network", f"{name} from {network}")
        try:
            return count([*known, *others], subject), elsewhere
        except ThrottledError:
            raise elsewhere from None


def _is_known_network(holder: Any | None, network: str) -> bool:
    """Return whether the account was lately logged in from a network, with its present password.

    The query runs for an unknown account too, with an id that no session has: its absence would reveal that the
    account is unknown.
    """
    addresses = ipaddress.ip_network(network)
    owner = {"pk": uuid.UUID(int=0)} if holder is None else {"user_id": holder.pk}
    return UserSession.objects.filter(
        **owner,
        refreshed_at__gt=timezone.now() - _KNOWN_FOR,
        auth_hash__in=password_fingerprints("" if holder is None else holder.password),
        ip_address__range=(str(addresses[0]), str(addresses[-1])),
    ).exists()


def _account_name(identifier: str, *, by_email: bool, holder: Any | None = None) -> str:
    """Return the name by which an account is counted. By address and by username it has two, so that neither reveals
    the other.

    - An email address is counted in its canonical spelling.
    - The username of a user is counted as stored: "ada" and "ADA" are two users in most projects, and the login of
      one must not clear the guesses at the other.
    - Unknown usernames that differ in case count as one: a backend of the project may treat them as one.
    - The username of a registration that was turned away is counted like that of a pending one. Otherwise the count
      would tell them apart.
    """
    if by_email:
        return f"address {counted_spelling(identifier)}"
    name = str(get_user_model().normalize_username(identifier))
    shadow = ShadowRegistration.objects.find(username=name)  # in every case, so that the time is the same
    if holder is not None:
        return _name_of(holder)
    return f"name of nobody {name.casefold()}" if shadow is None else f"name {name}"


@contextmanager
def password_check(*, user: Any, client: ClientInfo) -> Iterator[None]:
    """Count a password that confirms an operation, and hold a slot for hashing. If the block raises, the hit stays.

    Raises:
        ThrottledError: too many passwords of the account were wrong, or too many are hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    account, subject = buckets_for("password_account", str(user.pk)), ThrottleSubject(client, user)
    wanted = [*account, *network_buckets("hash_network", client)]
    with hash_slot(before_waiting=partial(require_not_full, wanted, subject)):
        hits = take_hits(wanted, subject)
        yield
    ThrottleBucket.objects.give_back([hit for hit in hits if hit.bucket in account], clearing=account)


@contextmanager
def new_password_slot(client: ClientInfo, *, causes_email: bool = False) -> Iterator[None]:
    """Count a new password, and hold a slot for hashing it.

    Args:
        client: the client of the request.
        causes_email: whether to count an email from the network as well, in the same statement: see
            `count_email_request`.

    Raises:
        ThrottledError: too many passwords are hashed for this network, or it causes too many emails.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    emails = network_buckets("mail_network", client) if causes_email else []
    wanted, subject = [*network_buckets("hash_network", client), *emails], ThrottleSubject(client)
    with hash_slot(before_waiting=partial(require_not_full, wanted, subject)):
        take_hits(wanted, subject)
        yield


def forgive(user: Any) -> None:
    """Clear the wrong passwords of an account whose owner has followed a link in an email."""
    ThrottleBucket.objects.clear([*login_buckets(user), *buckets_for("password_account", str(user.pk))])


def login_buckets(user: Any) -> list[Bucket]:
    """Return the buckets in which the wrong passwords of an account are counted, by address and by username."""
    names = [_account_name(stored_email(user), by_email=True)]
    if has_username():
        names.append(_name_of(user))
    return [bucket for name in names for bucket in buckets_for("login_account", name)]


def _name_of(user: Any) -> str:
    return f"name {user.get_username()}"


def count_request(client: ClientInfo) -> None:
    """Count a registration.

    Raises:
        ThrottledError: too many requests from this network.
    """
    take_hits(network_buckets("request_network", client), ThrottleSubject(client))


def count_email_request(client: ClientInfo) -> None:
    """Count a request that may cause an email, and the email, in one statement.

    The email is counted whether or not one follows, and before it is known. So the error does not reveal it.

    Raises:
        ThrottledError: too many requests or too many emails from this network.
    """
    wanted = [*network_buckets("request_network", client), *network_buckets("mail_network", client)]
    take_hits(wanted, ThrottleSubject(client))


def count_refused_token(client: ClientInfo) -> None:
    """Count a rejected token. Accepted tokens are never counted.

    Raises:
        ThrottledError: too many rejected tokens from this network.
    """
    take_hits(network_buckets("token_network", client), ThrottleSubject(client))


def count_email_link(user: Any | None, *, client: ClientInfo | None) -> bool:
    """Count an email with a link to its recipient, and return whether it may be sent.

    Without a user nothing is counted. Otherwise requests that cause no email would use up the limit of the address.

    Args:
        user: the recipient, or None if no user has the address.
        client: the client of the request; None if no limit applies.
    """
    return count_email_if_any(None if user is None else stored_email(user), client=client)


def count_email_if_any(email: str | None, *, client: ClientInfo | None) -> bool:
    """Count an email to its recipient, and return whether it may be sent. Without a recipient, nothing is counted.

    Args:
        email: the recipient, or None if no email will be sent.
        client: the client of the request; None if no limit applies.
    """
    if email is None:
        burn_bucket_lookup(_recipient_buckets("", client or ClientInfo()))
        return False
    return count_email_to(email, client=client)


def count_email_to(email: str, *, client: ClientInfo | None, is_notice: bool = False) -> bool:
    """Count an email that a stranger may have caused, and return whether it may be sent.

    Args:
        email: the recipient.
        client: the client of the request; None if no limit applies, for example because the email is counted already.
        is_notice: whether the email only says that there is an account.
    """
    if client is None:
        return True
    notice = buckets_for("mail_notice", _account_name(email, by_email=True)) if is_notice else []
    return _may_take([*_recipient_buckets(email, client), *notice], ThrottleSubject(client, identifier=email))


def count_owner_email(email: str) -> bool:
    """Count an email that tells an owner about a change of the account, and return whether it may be sent."""
    subject = ThrottleSubject(None, identifier=email)
    return _may_take(buckets_for("mail_owner", _account_name(email, by_email=True)), subject)


def _recipient_buckets(email: str, client: ClientInfo) -> list[Bucket]:
    recipient, site = _account_name(email, by_email=True), site_network(client)
    from_site = buckets_for("mail_recipient_network", f"{recipient} from {site}" if site else None)
    return [*buckets_for("mail_recipient", recipient), *from_site]


def _may_take(buckets: list[Bucket], subject: ThrottleSubject) -> bool:
    try:
        take_hits(buckets, subject)
    except ThrottledError:
        return False
    return True
