"""Vouching: an administrator says that an address belongs to its account, or has its link mailed again."""

from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.managers import atomic
from ninja_auth_kit.models.users import (
    find_user,
    has_address,
    is_verified,
    lock_user,
    prove_address,
    stored_email,
    user_by_key,
)
from ninja_auth_kit.services.verification import mail_verification_link, verification_page


class Outcome(TextChoices):
    """What became of one address."""

    # Translators: why an administrator's action skipped an address; each stands after a colon.
    DONE = "done", _("done")
    VERIFIED = "verified", _("it is verified already")
    OUTDATED = "outdated", _("its account has another address by now, or is gone")
    SHARED = "shared", _("it is not this account's alone: another has it too, or the account is hidden")
    DISABLED = "disabled", _("its account is disabled")


def vouch_for_address(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
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
        prove_address(user, user.authkit_email.email)
        signals.email_verified.announce(user=user, client=client, by="admin", actor_id=str(admin.pk))
    return Outcome.DONE


def mail_link_again(*, address: EmailAddress, admin: Any, client: ClientInfo) -> Outcome:
    """Mail a new verification link to an address that waits; the older link dies.

    Args:
        address: which, as the administrator saw it.
        admin: who asks for the link; the audit event says so.
        client: where the administrator is calling from.

    Raises:
        ImproperlyConfigured: there is no page for the link.
    """
    page = verification_page()
    user = user_by_key(address.user_id)
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
    mail_verification_link(user, email=address.email, page=page, client=None)  # no limit holds an administrator up
    return Outcome.DONE


def _refusal(user: Any | None, address: EmailAddress) -> Outcome | None:
    """Tell why there is nothing to do: the address is not the one that the account has now, or has been proved."""
    now = getattr(user, "authkit_email", None)
    if now is None or now.canonical != address.canonical or not has_address(user, address.canonical):
        return Outcome.OUTDATED
    return Outcome.VERIFIED if is_verified(user) else None
