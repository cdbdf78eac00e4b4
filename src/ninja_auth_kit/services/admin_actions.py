"""Actions of administrators and operators on the accounts of others.

- Revoke sessions: `revoke_sessions`, `revoke_all_sessions`, `revoke_selected_sessions`.
- Verify an email address: `mark_verified_by_admin`, `resend_link_by_admin`.

The events of an administrator's action carry `by` ("admin") and `actor_id`. Operators run commands, so their events
carry only `by` ("system").
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import emails, features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models import EmailAddress, UserSession
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import (
    find_user,
    has_address,
    is_verified,
    lock_user,
    mark_address_verified,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.internal.lapsed_registrations import extend_reservation
from ninja_auth_kit.services.internal.promises import promise
from ninja_auth_kit.services.verification import has_password_for_link, verification_link


def revoke_sessions(*, user_id: Any, reason: str = EndReason.REVOKED) -> int:
    """Revoke every session of a user at once, and return how many there were. A repetition revokes none.

    The devices on which the user needs no second factor are forgotten.

    Args:
        user_id: the primary key of the user, even if your project's default manager hides the user.
        reason: the reason in the audit events, one word such as "stolen_laptop".
    """
    with atomic():
        ended = _revoke(user_id=user_id, reason=reason, actor={"by": "system"})
        features.forget_devices(user_id)
    return len(ended)


def revoke_all_sessions(*, reason: str = EndReason.REVOKED) -> Iterator[int]:
    """Revoke every session of every user, with one transaction per user.

    After each user, yield how many sessions were revoked. If you stop the iteration, the remaining users keep their
    sessions; call this again to revoke them. Sessions that start in the meantime may stay active.

    Args:
        reason: see `revoke_sessions`.
    """
    features.forget_devices(None)
    active = UserSession.objects.filter(is_active=True)
    for user_id in active.order_by().values_list("user_id", flat=True).distinct().iterator(chunk_size=1000):
        yield revoke_sessions(user_id=user_id, reason=reason)


def revoke_selected_sessions(*, sessions: Iterable[UserSession], admin: Any, client: ClientInfo) -> set[UUID]:
    """Revoke these sessions, with one transaction per user, and return the ids of those that were active.

    Args:
        sessions: the sessions, of any users.
        admin: the administrator, whom the audit events name.
        client: the administrator's client.
    """
    selected: dict[Any, list[UUID]] = defaultdict(list)
    for session in sessions:
        selected[session.user_id].append(session.pk)
    ended: set[UUID] = set()
    for user_id, ids in selected.items():
        ended |= _revoke(user_id=user_id, ids=ids, client=client, actor=by_admin(admin))
    return ended


def _revoke(
    *,
    user_id: Any,
    actor: dict[str, str],
    ids: list[UUID] | None = None,
    reason: str = EndReason.REVOKED,
    client: ClientInfo | None = None,
) -> set[UUID]:
    with atomic():
        user = lock_user(user_id)
        ended = UserSession.objects.end(reason=EndReason.REVOKED, ids=ids, user_id=user_id)
        for session in ended:
            signals.session_revoked.announce(
                user=user, client=client, session_id=session.id, reason=str(reason), **actor
            )
    return {session.id for session in ended}


class Outcome(TextChoices):
    """The result of an action on one email address: it was done, or the reason why it was skipped."""

    # Translators: the reason why an admin action skipped an email address; each follows a colon.
    DONE = "done", _("done")
    VERIFIED = "verified", _("the email address is already verified")
    OUTDATED = "outdated", _("the account now has a different email address or has been deleted")
    SHARED = (
        "shared",
        _("another account has the same email address, or the default manager of the user model hides this account"),
    )
    DISABLED = "disabled", _("the account is disabled")
    PENDING = "pending", _("a registration, which its owner has to verify")
    NO_PASSWORD = "no_password", _("the account has no password, which the link asks for; a password reset sets one")
    NO_ADDRESS = "no_address", _("the account has no email address")
    INVALID = (
        "invalid",
        _("the email address cannot be used, for example because the name of the mailbox is not ASCII"),
    )
    UNKNOWN = "unknown", _("no account has this email address")


def mark_verified_by_admin(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
    """Mark an address as verified without a link, because an administrator vouches for it.

    The effect is the same as that of the link: a disabled account stays disabled, and no session starts. The account
    must still have the address, and a login with the address must lead to this account and no other.

    Unlike with the link, the password is not asked for. It was chosen by the person who registered the address last.
    That person, who may not be the owner of the mailbox, can log in from now on.

    Args:
        address: the address as the administrator has seen it.
        admin: the administrator who vouches for it, whom the audit event names.
        client: the administrator's client.
    """
    owner = find_user(address.canonical)
    with atomic():
        user: Any = lock_user(address.user_id)
        skipped = _reason_to_skip(user, address)
        if skipped is not None:
            return skipped
        if owner is None or owner.pk != user.pk:
            return Outcome.SHARED
        mark_address_verified(user, user.authkit_email.email)
        signals.email_verified.announce(user=user, client=client, **by_admin(admin))
    return Outcome.DONE


def resend_link_by_admin(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
    """Send a new verification link to an unverified address. The earlier links stay valid.

    Args:
        address: the address as the administrator has seen it.
        admin: the administrator who requests the link, whom the audit event names.
        client: the administrator's client. No rate limit applies to it.

    Raises:
        ImproperlyConfigured: there is no page for the link.
    """
    page = emails.page_url(Purpose.VERIFY_EMAIL)
    user = user_by_pk(address.user_id)
    skipped = _reason_to_skip(user, address)
    if skipped is not None:
        return skipped
    if not getattr(user, "is_active", True):
        return Outcome.DISABLED
    if not has_password_for_link(user):
        return Outcome.NO_PASSWORD
    extend_reservation(address.canonical)
    signals.verification_requested.announce(user=user, client=client, identifier=stored_email(user), **by_admin(admin))
    promise(verification_link(user, page=page, client=None))
    return Outcome.DONE


def _reason_to_skip(user: Any | None, address: EmailAddress) -> Outcome | None:
    """Return OUTDATED if the account no longer has the address, VERIFIED if it is verified, otherwise None."""
    current = getattr(user, "authkit_email", None)
    if current is None or current.canonical != address.canonical or not has_address(user, address.canonical):
        return Outcome.OUTDATED
    return Outcome.VERIFIED if is_verified(user) else None


def by_admin(admin: Any) -> dict[str, str]:
    """Return what an administrator's action adds to a signal."""
    return {"by": "admin", "actor_id": str(admin.pk)}
