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
from ninja_auth_kit.exceptions import EmailNotVerifiedError, SessionLimitReachedError, ThrottledError
from ninja_auth_kit.models import (
    Bucket,
    InvalidEmailError,
    Taken,
    ThrottleBucket,
    UserSession,
    canonical_email,
    has_username,
    stored_email,
)
from ninja_auth_kit.services.hashing import hashing
from ninja_auth_kit.services.limits import Refused, buckets, network_of, refuse_full, take

# How long a login vouches for the network that it came from.
_KNOWN_FOR = timedelta(days=30)


@contextmanager
def login_attempt(*, identifier: str, by_email: bool, holder: Any | None, client: ClientInfo) -> Iterator[None]:
    """Count a login against its account and its network, and hold a place for hashing.

    A wrong password stays counted. A login empties the bucket of its account and leaves that of the network as it was.
    The right password of an address that is not verified empties nothing: it may be that of a registration that was
    turned away, by whoever is guessing at the account.

    Args:
        identifier: the address or the name, as typed.
        by_email: whether it is an address.
        holder: who has it, or None.
        client: who is calling.

    Raises:
        ThrottledError: too many failures, of which the caller learns nothing more.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    account = _account(identifier, by_email=by_email)
    admit = partial(_admit, account, holder, network_of(client), Refused(client, holder, identifier))
    with hashing(before_waiting=partial(admit, refuse_full)):
        taken = admit(take)
        try:
            yield
        except (EmailNotVerifiedError, SessionLimitReachedError):
            ThrottleBucket.objects.give_back(taken)
            raise
    own = [hit.bucket for hit in taken if hit.bucket.rule != "login_network"]
    ThrottleBucket.objects.give_back(taken, clearing=own)


@contextmanager
def password_check(*, user: Any, client: ClientInfo) -> Iterator[None]:
    """Count a password that confirms something, and hold a place for hashing; what is raised inside stays counted.

    Raises:
        ThrottledError: too many were wrong.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    wanted, refused = buckets("password_account", str(user.pk)), Refused(client, user)
    with hashing(before_waiting=partial(refuse_full, wanted, refused)):
        taken = take(wanted, refused)
        yield
    ThrottleBucket.objects.give_back(taken, clearing=wanted)


def forgive(user: Any) -> None:
    """Forget the wrong passwords for an account: its owner has proved to be one, by a mailed token."""
    names = [_account(stored_email(user), by_email=True)]
    if has_username():
        names.append(_account(user.get_username(), by_email=False))
    forgotten = [bucket for name in names for bucket in buckets("login_account", name)]
    ThrottleBucket.objects.clear([*forgotten, *buckets("password_account", str(user.pk))])


def count_request(client: ClientInfo) -> None:
    """Count a registration, or a request that may cause a mail.

    Raises:
        ThrottledError: too many from this network.
    """
    take(buckets("request_network", network_of(client)), Refused(client))


def count_strange_token(client: ClientInfo) -> None:
    """Count a token that is none of ours. Genuine ones are never counted, whatever became of them.

    Raises:
        ThrottledError: too many from this network.
    """
    take(buckets("token_network", network_of(client)), Refused(client))


def may_mail_from(client: ClientInfo) -> bool:
    """Count a request that may cause a mail; tell whether it may. Whether it does must not show in the count."""
    return _is_free(buckets("mail_network", network_of(client)), Refused(client))


def may_mail_link(user: Any | None, *, email: str, client: ClientInfo | None) -> bool:
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
    is_free = may_mail_from(client)
    if user is None or not is_free:
        ThrottleBucket.objects.full(buckets("mail_recipient", _account(email, by_email=True)))
        return False
    return may_mail_to(stored_email(user), client=client)


def may_mail_to(email: str, *, client: ClientInfo, is_notice: bool = False) -> bool:
    """Count a mail that somebody may have asked for who is not its recipient; tell whether it may go.

    Args:
        email: the recipient.
        client: who is calling.
        is_notice: whether it only says that there is an account.
    """
    recipient = _account(email, by_email=True)
    wanted = buckets("mail_recipient", recipient)
    if is_notice:
        wanted += buckets("mail_notice", recipient)
    return _is_free(wanted, Refused(client, identifier=email))


def _is_free(wanted: list[Bucket], refused: Refused) -> bool:
    try:
        take(wanted, refused)
    except ThrottledError:
        return False
    return True


def _account(identifier: str, *, by_email: bool) -> str:
    """Return an account's name as it is counted, in one spelling; an address and a name are not known to be one."""
    if not by_email:
        return f"name {get_user_model().normalize_username(identifier).casefold()}"
    try:
        return f"address {canonical_email(identifier.strip())}"
    except InvalidEmailError:
        return f"address {identifier.strip().casefold()}"


def _admit(
    account: str,
    holder: Any | None,
    network: str | None,
    refused: Refused,
    act: Callable[[Sequence[Bucket], Refused], list[Taken]],
) -> list[Taken]:
    """Take the buckets of a login, or look whether they can be taken."""
    here = buckets("login_network", network)
    try:
        return act([*buckets("login_account", account), *here], refused)
    except ThrottledError:
        # Somebody may be guessing from elsewhere; this does not lock the owner out.
        if not _is_known(holder, network):
            raise
        return act([*buckets("login_known_network", f"{account} from {network}"), *here], refused)


def _is_known(holder: Any | None, network: str | None) -> bool:
    """Tell whether the account has lately logged in from this network; asked for nobody too, for it takes time."""
    if network is None:
        return False
    addresses = ipaddress.ip_network(network)
    whose = {"pk": uuid.UUID(int=0)} if holder is None else {"user_id": holder.pk}
    return UserSession.objects.filter(
        **whose,
        login_time__gt=timezone.now() - _KNOWN_FOR,
        ip_address__range=(str(addresses[0]), str(addresses[-1])),
    ).exists()
