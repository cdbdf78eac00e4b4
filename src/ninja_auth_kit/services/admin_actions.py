"""What operators and administrators do: end sessions, mark an address as verified, send its link again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models import EmailAddress, UserSession
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
from ninja_auth_kit.services.verification import send_verification_link, verification_page


def revoke_sessions(*, user_id: Any, reason: str = EndReason.REVOKED) -> int:
    """End every session of a user at once, and return how many there were. Again, it ends none.

    Args:
        user_id: whose, even if the host's default manager hides the user.
        reason: what the audit events say, a word such as "stolen_laptop".
    """
    return len(_revoke(user_id=user_id, reason=reason, by="system"))


def revoke_all_sessions(*, reason: str = EndReason.REVOKED) -> Iterator[int]:
    """End every session of everybody, one user after the other, each in a transaction of its own.

    Yields how many sessions of a user were ended. Who stops in the middle has revoked some; again, it does the rest.
    A login while it runs is not undone.
    """
    active = UserSession.objects.filter(is_active=True)
    for key in active.order_by().values_list("user_id", flat=True).distinct().iterator(chunk_size=1000):
        yield revoke_sessions(user_id=key, reason=reason)


def revoke_selected_sessions(*, sessions: Iterable[UserSession], admin: Any, client: ClientInfo) -> set[UUID]:
    """End these sessions, one user after the other, and return the ids of those that had not ended yet.

    Args:
        sessions: which, of whatever users.
        admin: the administrator who ends them; the audit events say so.
        client: where the administrator is calling from.
    """
    chosen: dict[Any, list[UUID]] = defaultdict(list)
    for session in sessions:
        chosen[session.user_id].append(session.pk)
    ended: set[UUID] = set()
    for user_id, ids in chosen.items():
        ended |= _revoke(user_id=user_id, ids=ids, by="admin", actor_id=str(admin.pk), client=client)
    return ended


def _revoke(
    *,
    user_id: Any,
    ids: list[UUID] | None = None,
    reason: str = EndReason.REVOKED,
    client: ClientInfo | None = None,
    **actor: str,
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
    """What became of one address."""

    # Translators: the reason why an admin action skipped an email address; each follows a colon.
    DONE = "done", _("done")
    VERIFIED = "verified", _("the email address is already verified")
    OUTDATED = "outdated", _("the account now has a different email address or has been deleted")
    SHARED = (
        "shared",
        _("another account has the same email address, or the default manager of the user model hides this account"),
    )
    DISABLED = "disabled", _("the account is disabled")


def mark_verified_by_admin(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
    """Mark an address as verified without a link, on the word of an administrator.

    It does what the link does and no more: a disabled account stays disabled, and nobody is logged in. The address
    must still be the account's, and a login with it must lead to this account and no other. The password is not asked
    for, as it is where somebody follows the link: it is that of whoever registered the address last, the owner or
    not, and whoever that is can log in from now on.

    Args:
        address: which, as the administrator saw it.
        admin: who vouches for it; the audit event says so.
        client: where the administrator is calling from.
    """
    holder = find_user(address.canonical)
    with atomic():
        user: Any = lock_user(address.user_id)
        refusal = _refusal(user, address)
        if refusal is not None:
            return refusal
        if holder is None or holder.pk != user.pk:
            return Outcome.SHARED
        mark_address_verified(user, user.authkit_email.email)
        signals.email_verified.announce(user=user, client=client, by="admin", actor_id=str(admin.pk))
    return Outcome.DONE


def resend_link_by_admin(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
    """Mail a new verification link to an address that waits; the older link dies.

    Args:
        address: which, as the administrator saw it.
        admin: who asks for the link; the audit event says so.
        client: where the administrator is calling from.

    Raises:
        ImproperlyConfigured: there is no page for the link.
    """
    page = verification_page()
    user = user_by_pk(address.user_id)
    refusal = _refusal(user, address)
    if refusal is not None:
        return refusal
    if not getattr(user, "is_active", True):
        return Outcome.DISABLED
    signals.verification_requested.announce(
        user=user,
        client=client,
        identifier=stored_email(user),
        by="admin",
        actor_id=str(admin.pk),
    )
    send_verification_link(user, email=address.email, page=page, client=None)  # no limit holds an administrator up
    return Outcome.DONE


def _refusal(user: Any | None, address: EmailAddress) -> Outcome | None:
    """Tell why there is nothing to do: the address is not the one that the account has now, or has been proved."""
    now = getattr(user, "authkit_email", None)
    if now is None or now.canonical != address.canonical or not has_address(user, address.canonical):
        return Outcome.OUTDATED
    return Outcome.VERIFIED if is_verified(user) else None
