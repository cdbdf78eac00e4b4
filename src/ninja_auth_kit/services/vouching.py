"""Vouching: verify the email addresses of users without a link, because a person answers for them.

This is for users who were not made by a registration, but by `createsuperuser`, the admin, `create_user()` or an
import. It works in batches, and each is read without locks first, so that users with nothing to do are never locked.
The others are locked, checked again and verified in one transaction. A batch takes the same statements for one user
and for `BATCH` users, and one more for each audit event.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.utils import timezone

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import (
    email_field,
    has_address,
    is_verified,
    stored_email,
    users_by_pk,
    users_with_any,
)
from ninja_auth_kit.services.admin_actions import Outcome

BATCH = 500  # users; a login of one of them may have to wait until the batch is committed


@dataclass(frozen=True, kw_only=True)
class Vouch:
    """Who answers for the addresses, and which users are left out.

    Attributes:
        actor: `by` and `actor_id` of the audit events.
        client: the client of an administrator, or None for a command.
        announce: whether to send the signal `email_verified`, which is recorded as an audit event.
        include_pending: whether to verify registrations that wait for their owners. A registration proves nothing: the
            password may be that of a stranger.
        include_disabled: whether to verify disabled users. They stay disabled.
        dry_run: whether to find out only what would be done.
    """

    actor: dict[str, str] = field(default_factory=lambda: {"by": "system"})
    client: ClientInfo | None = None
    announce: bool = True
    include_pending: bool = True
    include_disabled: bool = True
    dry_run: bool = False


@dataclass(frozen=True)
class Vouched:
    """What became of one address or one user.

    Attributes:
        outcome: DONE, or why it was skipped.
        key: the primary key of the user, or None if the address leads to no user.
        email: the address as it was given, or that of the user.
    """

    outcome: Outcome
    key: Any
    email: str


def vouch_for_everyone(vouch: Vouch) -> Iterator[Vouched]:
    """Verify the addresses of all users whom the default manager shows, in the order of their primary keys.

    Each batch is committed. If you stop, what is done stays done, and another call does the rest.
    """
    model = get_user_model()
    users = model._default_manager.using(accounts_database()).order_by("pk").values_list("pk", flat=True)
    keys = list(users[:BATCH])
    while keys:
        yield from vouch_for_users(keys, vouch)
        keys = list(users.filter(pk__gt=keys[-1])[:BATCH])


def vouch_for_emails(emails: Iterable[str], vouch: Vouch) -> Iterator[Vouched]:
    """Verify these addresses, each of which must lead to one user.

    Args:
        emails: as typed; they are read in batches.
        vouch: who answers for them.
    """
    rest = iter(emails)
    while batch := list(islice(rest, BATCH)):
        yield from _vouch_for_batch(batch, vouch)


def _vouch_for_batch(emails: Sequence[str], vouch: Vouch) -> Iterator[Vouched]:
    canonical = {email: _canonical(email) for email in emails}
    addresses = [address for address in canonical.values() if address is not None]
    holders = {address: [user.pk for user in users] for address, users in users_with_any(addresses).items()}
    unique = {keys[0] for keys in holders.values() if len(keys) == 1}
    outcomes = {one.key: one.outcome for one in vouch_for_users(list(unique), vouch)}
    rows = EmailAddress.objects.filter(canonical__in=addresses, verified_at__isnull=False)
    verified = dict(rows.values_list("canonical", "user_id"))
    for email, address in canonical.items():
        keys = holders.get(address or "", [])
        if len(keys) == 1:
            yield Vouched(outcomes.get(keys[0], Outcome.OUTDATED), keys[0], email)
        elif keys:
            is_verified_for_one = verified.get(address or "") in keys
            yield Vouched(Outcome.VERIFIED if is_verified_for_one else Outcome.SHARED, min(keys), email)
        else:
            yield Vouched(Outcome.INVALID if address is None else Outcome.UNKNOWN, None, email)


def vouch_for_users(keys: Sequence[Any], vouch: Vouch) -> list[Vouched]:
    """Verify the addresses of these users. A login with each must then lead to its user and to no other.

    Args:
        keys: the primary keys, at most `BATCH`; those that do not exist are left out.
        vouch: who answers for the addresses.
    """
    users = users_by_pk(keys)
    skipped = {user.pk: _reason_to_skip(user, vouch) for user in users}
    ready = [user for user in users if skipped[user.pk] is None]
    done = _check_holders(ready) if vouch.dry_run else _verify([user.pk for user in ready], vouch)
    return [
        Vouched(skipped[user.pk] or done.get(user.pk, Outcome.OUTDATED), user.pk, stored_email(user)) for user in users
    ]


def _reason_to_skip(user: Any, vouch: Vouch) -> Outcome | None:
    address = getattr(user, "authkit_email", None)
    if not getattr(user, email_field()):
        return Outcome.NO_ADDRESS
    if is_verified(user):
        return Outcome.VERIFIED
    if _canonical(getattr(user, email_field())) is None:
        return Outcome.INVALID
    if not vouch.include_disabled and not getattr(user, "is_active", True):
        return Outcome.DISABLED
    if not vouch.include_pending and address is not None and has_address(user, address.canonical):
        return Outcome.PENDING
    return None


def _canonical(email: str) -> str | None:
    try:
        return canonical_email(email)
    except InvalidEmailError:
        return None


def _verify(keys: Sequence[Any], vouch: Vouch) -> dict[Any, Outcome]:
    """Verify users in one transaction, or, if somebody else verifies one of the addresses now, in two halves."""
    if not keys:
        return {}
    try:
        with atomic():
            return _verify_locked(users_by_pk(keys, lock=True), vouch)
    except IntegrityError:
        if len(keys) == 1:
            return {keys[0]: Outcome.SHARED}
        middle = len(keys) // 2
        return _verify(keys[:middle], vouch) | _verify(keys[middle:], vouch)


def _verify_locked(users: Sequence[Any], vouch: Vouch) -> dict[Any, Outcome]:
    outcomes = {user.pk: _reason_to_skip(user, vouch) for user in users}
    ready = [user for user in users if outcomes[user.pk] is None]
    checked = _check_holders(ready)
    chosen = [user for user in ready if checked[user.pk] is Outcome.DONE]
    now = timezone.now()
    rows = [
        EmailAddress(user=user, email=email, canonical=canonical_email(email), verified_at=now)
        for user, email in ((user, stored_email(user)) for user in chosen)
    ]
    _release_addresses(rows)
    EmailAddress.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["user"], update_fields=["email", "canonical", "verified_at"]
    )
    for user in chosen if vouch.announce else ():
        signals.email_verified.announce(user=user, client=vouch.client, **vouch.actor)
    return checked | {key: outcome for key, outcome in outcomes.items() if outcome is not None}


def _check_holders(users: Sequence[Any]) -> dict[Any, Outcome]:
    """Return DONE for each user whose address no other user has, otherwise SHARED."""
    addresses = {user.pk: canonical_email(getattr(user, email_field())) for user in users}
    holders = users_with_any(addresses.values())
    return {
        key: Outcome.DONE if [holder.pk for holder in holders.get(address, ())] == [key] else Outcome.SHARED
        for key, address in addresses.items()
    }


def _release_addresses(rows: Sequence[EmailAddress]) -> None:
    """Delete the rows of former holders: users who have another address by now."""
    new = {row.canonical: row.user_id for row in rows}
    former = EmailAddress.objects.select_related("user").filter(canonical__in=list(new))
    outdated = [
        row.pk for row in former if row.user_id != new[row.canonical] and not has_address(row.user, row.canonical)
    ]
    if outdated:
        EmailAddress.objects.filter(pk__in=outdated).delete()
