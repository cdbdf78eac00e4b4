"""Throttling: how often one may guess, ask and flood, counted before any work is done.

A hit is counted first and given back where the password was right, so fifty guesses at once count as fifty. What is
counted is an account as it was typed, whether or not there is one, a network, both together, or the recipient of a
mail; how often, the setting `THROTTLES` says.
"""

import ipaddress
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, ThrottledError
from ninja_auth_kit.models import ShadowRegistration, ThrottleBucket, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.models.users import has_username, stored_email
from ninja_auth_kit.services.internal.hash_slots import HashSlot, hashing
from ninja_auth_kit.services.internal.limits import (
    ThrottleSubject,
    buckets,
    network_buckets,
    refuse_full,
    site_network,
    take,
)
from ninja_auth_kit.tokens import password_fingerprints

# How long a session vouches for the network that it began in, from its last refresh.
_KNOWN_FOR = timedelta(days=60)

Act = Callable[[Sequence[Bucket], ThrottleSubject], list[Hit]]


@contextmanager
def login_attempt(*, identifier: str, by_email: bool, holder: Any | None, client: ClientInfo) -> Iterator[HashSlot]:
    """Count a login against its account and its network, and hold a place for hashing.

    A wrong password stays counted. A login empties the bucket of its account and leaves that of the network as it was.
    The right password of an address that is not verified empties nothing, and counts against the network: it may be
    that of a registration that was turned away, by whoever is guessing at the account.

    Args:
        identifier: the address or the name, as typed.
        by_email: whether it is an address.
        holder: who has it, or None.
        client: who is calling.

    Raises:
        ThrottledError: too many failures, of which the caller learns nothing more. Also for a password that was looked
            at only because the account knows this network, and that opens nothing: others must not learn that it does.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    admit = partial(_admit, _account(identifier, by_email=by_email, holder=holder), holder, client, identifier)
    with hashing(before_waiting=partial(admit, refuse_full)) as place:
        taken, refusal = admit(take)
        account = [hit for hit in taken if hit.bucket.rule in {"login_account", "login_known_network"}]
        network = [hit for hit in taken if hit.bucket.rule == "login_network"]
        try:
            yield place
        except (InvalidCredentialsError, EmailNotVerifiedError) as error:
            if refusal is not None:
                # Elsewhere it would have been refused uncounted, and the limits of the network would tell.
                ThrottleBucket.objects.give_back([hit for hit in taken if hit not in account])
                raise refusal from None
            if isinstance(error, EmailNotVerifiedError):
                ThrottleBucket.objects.give_back(account)
            raise
        except Exception:  # nothing that a guess could have caused
            ThrottleBucket.objects.give_back([*account, *network])
            raise
    ThrottleBucket.objects.give_back([*account, *network], clearing=[hit.bucket for hit in account])


@contextmanager
def password_check(*, user: Any, client: ClientInfo) -> Iterator[None]:
    """Count a password that confirms something, and hold a place for hashing; what is raised inside stays counted.

    Raises:
        ThrottledError: too many were wrong, or too many are hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    account, refused = buckets("password_account", str(user.pk)), ThrottleSubject(client, user)
    wanted = [*account, *network_buckets("hash_network", client)]
    with hashing(before_waiting=partial(refuse_full, wanted, refused)):
        taken = take(wanted, refused)
        yield
    ThrottleBucket.objects.give_back([hit for hit in taken if hit.bucket in account], clearing=account)


@contextmanager
def new_password_slot(client: ClientInfo) -> Iterator[None]:
    """Count a new password, and hold a place for hashing it.

    Raises:
        ThrottledError: too many are hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    wanted, refused = network_buckets("hash_network", client), ThrottleSubject(client)
    with hashing(before_waiting=partial(refuse_full, wanted, refused)):
        take(wanted, refused)
        yield


def forgive(user: Any) -> None:
    """Forget the wrong passwords for an account: its owner has proved to be one, by a mailed token."""
    names = [_account(stored_email(user), by_email=True)]
    if has_username():
        names.append(_account(user.get_username(), by_email=False, holder=user))
    forgotten = [bucket for name in names for bucket in buckets("login_account", name)]
    ThrottleBucket.objects.clear([*forgotten, *buckets("password_account", str(user.pk))])


def count_request(client: ClientInfo) -> None:
    """Count a registration, or a request that may cause a mail.

    Raises:
        ThrottledError: too many from this network.
    """
    take(network_buckets("request_network", client), ThrottleSubject(client))


def count_refused_token(client: ClientInfo) -> None:
    """Count a token that was refused; good ones are never counted.

    Raises:
        ThrottledError: too many from this network.
    """
    take(network_buckets("token_network", client), ThrottleSubject(client))


def count_email_from(client: ClientInfo) -> bool:
    """Count a request that may cause a mail; tell whether it may. Whether it does must not show in the count."""
    return _is_free(network_buckets("mail_network", client), ThrottleSubject(client))


def count_email_link(user: Any | None, *, email: str, client: ClientInfo | None) -> bool:
    """Count a request for a link and the mail that comes of it; tell whether it may go. It never may to nobody.

    Without a mail nothing is counted for the recipient, so that nobody can use up the mails of another by requests
    that cause none; but it takes as long.

    Args:
        user: whom the link is for, or None.
        email: the address as typed.
        client: who is calling; None for an administrator, whom nothing limits.
    """
    if client is None:
        return user is not None
    is_free = count_email_from(client)
    if user is None or not is_free:
        ThrottleBucket.objects.full(_recipient(email, client))
        return False
    return count_email_to(stored_email(user), client=client)


def count_email_to(email: str, *, client: ClientInfo, is_notice: bool = False) -> bool:
    """Count a mail that somebody may have asked for who is not its recipient; tell whether it may go.

    Args:
        email: the recipient.
        client: who is calling.
        is_notice: whether it only says that there is an account.
    """
    notice = buckets("mail_notice", _account(email, by_email=True)) if is_notice else []
    return _is_free([*_recipient(email, client), *notice], ThrottleSubject(client, identifier=email))


def count_owner_email(email: str) -> bool:
    """Count a mail that tells an owner what was done with the account; tell whether it may go."""
    return _is_free(buckets("mail_owner", _account(email, by_email=True)), ThrottleSubject(None, identifier=email))


def _recipient(email: str, client: ClientInfo) -> list[Bucket]:
    recipient, site = _account(email, by_email=True), site_network(client)
    own = buckets("mail_recipient_network", f"{recipient} from {site}" if site else None)
    return [*buckets("mail_recipient", recipient), *own]


def _is_free(wanted: list[Bucket], refused: ThrottleSubject) -> bool:
    try:
        take(wanted, refused)
    except ThrottledError:
        return False
    return True


def _account(identifier: str, *, by_email: bool, holder: Any | None = None) -> str:
    """Return an account's name as it is counted; that an address and a name are one account, nobody is to learn.

    A name is its holder's: to most hosts "ada" and "ADA" are two, and the login of one must not forgive guesses at the
    other. Of names that nobody has, the spellings are one: to a backend of the host they may be. The name of a
    registration that was turned away is counted as that of one that waits, or its count would tell them apart.
    """
    if by_email:
        try:
            return f"address {canonical_email(identifier.strip())}"
        except InvalidEmailError:
            return f"address {identifier.strip().casefold()}"
    name = str(get_user_model().normalize_username(identifier))
    shadow = ShadowRegistration.objects.find(username=name)  # asked for in every case, for it takes time
    if holder is not None:
        return f"name {holder.get_username()}"
    return f"name of nobody {name.casefold()}" if shadow is None else f"name {name}"


def _admit(
    account: str, holder: Any | None, client: ClientInfo, identifier: str, act: Act
) -> tuple[list[Hit], ThrottledError | None]:
    """Take the buckets of a login, or look whether they can be taken.

    Returns:
        What was taken, and what everybody else is told, where it was taken because the account knows this network.
    """
    refused, network = ThrottleSubject(client, holder, identifier), client.network
    here = [*network_buckets("login_network", client), *network_buckets("hash_network", client)]
    try:
        return act([*buckets("login_account", account), *here], refused), None
    except ThrottledError as refusal:
        # Somebody may be guessing from elsewhere; this does not lock the owner out.
        if network is None or not _is_known(holder, network):
            raise
        known = buckets("login_known_network", f"{account} from {network}")
        try:
            return act([*known, *here], refused), refusal
        except ThrottledError:
            raise refusal from None  # as everywhere else, its Retry-After too


def _is_known(holder: Any | None, network: str) -> bool:
    """Tell whether the account was lately logged in from this network with the password that it has now.

    Asked for nobody too, for it takes time.
    """
    addresses = ipaddress.ip_network(network)
    whose = {"pk": uuid.UUID(int=0)} if holder is None else {"user_id": holder.pk}
    return UserSession.objects.filter(
        **whose,
        refreshed_at__gt=timezone.now() - _KNOWN_FOR,
        auth_hash__in=password_fingerprints("" if holder is None else holder.password),
        ip_address__range=(str(addresses[0]), str(addresses[-1])),
    ).exists()
