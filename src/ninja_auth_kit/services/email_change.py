"""Email change: requested with the password, and confirmed with a link that is sent to the new address."""

import copy
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models import OneTimeToken, PromisedEmail, ShadowRegistration, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.promised_emails import EmailKind, NewEmail
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import (
    account_state,
    email_field,
    find_holder,
    find_holders,
    has_address,
    is_pending,
    lock_user,
    mark_address_verified,
    may_authenticate,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.internal.email_links import email_token, link_context, reject_token, send_notice
from ninja_auth_kit.services.internal.own_password import check_own_password
from ninja_auth_kit.services.internal.promises import promise, sends, user_of
from ninja_auth_kit.services.internal.throttling import (
    count_email_request,
    count_email_to,
)
from ninja_auth_kit.services.internal.user_fields import check_email
from ninja_auth_kit.services.registration import send_account_exists


@sensitive_variables()
def request_email_change(*, user: Any, new_email: str, password: str | None, client: ClientInfo) -> None:
    """Send a link to the new address, and a notice to the present one. The account does not change yet.

    If an account has the new address, that account gets a notice and no link is sent. The caller does not learn that.

    Args:
        user: the owner of the account, who is logged in.
        new_email: as typed; the link is sent to this spelling.
        password: as typed. None for a user who has none: call `require_confirmation` first.
        client: the caller.

    Raises:
        WrongPasswordError: `password` is not the password of the account.
        InvalidInputError: `new_email` is not a valid address, or is the address that the account has; or `password` is
            missing, and the account has one.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many wrong passwords for this account, or too many requests from this network or emails
            for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_email_request(client)
    page = emails.page_url(Purpose.CHANGE_EMAIL)
    failed = partial(signals.email_change_failed.announce, user=user, client=client, reason="wrong_password")
    check_own_password(user, password, field="password", client=client, announce_failure=failed)
    canonical = check_email(new_email, field="new_email")
    if has_address(user, canonical):
        raise InvalidInputError(
            FieldError("new_email", "email_unchanged", _("This is already your email address. Enter a different one."))
        )
    signals.email_change_requested.announce(user=user, client=client)
    link = NewEmail(EmailKind.CHANGE_EMAIL, user, client, address=new_email, page=page, account=account_state(user))
    notice = NewEmail(EmailKind.EMAIL_CHANGE_REQUESTED, user, client, address=stored_email(user))
    # An earlier link that has not left yet must not leave after this one.
    promise(link, notice, supersede_changes_of=user)


@sends(EmailKind.CHANGE_EMAIL)
def _send_link(promised: PromisedEmail) -> None:
    """Send the link to the new address, or a notice to the account that has the address."""
    user = user_of(promised)
    if user is None or not promised.is_bound_to(account_state(user)):
        return
    client = promised.first_client()
    is_repeated = _has_unused_token(user, promised.address)
    may_email = count_email_to(promised.address, client=client)
    if is_repeated and not may_email:
        return  # the link that was sent to this address before stays valid
    token = _supersede_token(user, promised)
    if token is not None and may_email:
        _email_new_address(promised, token, client)


def _has_unused_token(user: Any, new_email: str) -> bool:
    unused = {"user": user, "purpose": Purpose.CHANGE_EMAIL, "used_at": None}
    return OneTimeToken.objects.filter(**unused, email=new_email).exists()


def _supersede_token(user: Any, promised: PromisedEmail) -> str | None:
    """Return a new token, or None if a later request has taken back this promise: emails leave in any order.

    The token is issued even if the new address is taken or gets no email. Attack: otherwise a link to an earlier
    address, for example the attacker's own, would stay valid in these cases only, and reveal them.

    Tests:
    tests/test_email_change.py::test_an_older_link_dies_whether_or_not_the_next_address_is_in_use
    tests/test_email_change.py::test_that_an_older_link_lives_on_does_not_tell_whether_the_next_address_has_had_its_mails
    """
    with atomic():
        if lock_user(user.pk) is None or not PromisedEmail.objects.is_kept(promised):
            return None
        expires_at = timezone.now() + settings.EMAIL_VERIFICATION_LIFETIME
        return OneTimeToken.objects.issue(
            purpose=Purpose.CHANGE_EMAIL, user=user, email=promised.address, expires_at=expires_at
        )


def _email_new_address(promised: PromisedEmail, token: str, client: ClientInfo | None) -> None:
    owner = find_holder(promised.address)
    if owner is not None and not is_pending(owner):
        send_account_exists(user_by_pk(owner.pk), email=promised.address, client=client)
        return
    context = link_context(promised.page, token, settings.EMAIL_VERIFICATION_LIFETIME)
    email_token(token, purpose=Purpose.CHANGE_EMAIL, to=promised.address, context=context)


@sends(EmailKind.EMAIL_CHANGE_REQUESTED, EmailKind.EMAIL_CHANGED)
def _send_notice(promised: PromisedEmail) -> None:
    send_notice(promised)


@sensitive_variables()
def confirm_email_change(*, token: str, client: ClientInfo) -> None:
    """Give the account the address that the token was sent to. All its sessions and other one-time tokens end.

    Args:
        token: as it was emailed.
        client: the caller.

    Raises:
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, another
            account has the address by now, or the user has changed the password or been disabled.
        ThrottledError: too many rejected tokens from this network.
    """
    row = OneTimeToken.objects.find(purpose=Purpose.CHANGE_EMAIL, token=token)
    if row is None:
        raise reject_token(signals.email_change_failed, "invalid_token", client=client)
    if not _change_email(row, client=client):
        raise reject_token(signals.email_change_failed, "superseded", client=client, user=row.user)


def _change_email(row: OneTimeToken, *, client: ClientInfo) -> bool:
    """Use the token up and change the address, in one transaction. Return whether the account still allowed it."""
    try:
        with atomic():
            user = lock_user(row.user_id)
            if user is None or not may_authenticate(user) or not row.is_bound_to(user):
                return False
            if not OneTimeToken.objects.consume(row):
                return False
            _claim_address(row.email, user, client=client)
            promise(NewEmail(EmailKind.EMAIL_CHANGED, user, client, address=stored_email(user)))
            setattr(user, email_field(), row.email)
            user.save(using=accounts_database(), update_fields=[email_field()])
            mark_address_verified(user, row.email)
            ended = UserSession.objects.end(reason=EndReason.EMAIL_CHANGED, user_id=user.pk)
            features.forget_devices(user.pk)
            OneTimeToken.objects.filter(user=user).exclude(pk=row.pk).delete()
            ShadowRegistration.objects.filter(user=user).delete()  # it has the former address
            signals.email_changed.announce(user=user, client=client, sessions_ended=len(ended))
            return True
    except (IntegrityError, InvalidEmailError):  # the address is taken; the token stays unused
        return False


def _claim_address(email: str, user: Any, *, client: ClientInfo) -> None:
    """Delete the pending registrations of an address, because they have proved nothing.

    Raises:
        IntegrityError: another account has the address.
    """
    for found in find_holders(email):
        holder = lock_user(found.pk) if found.pk != user.pk else None
        if holder is None or not has_address(holder, canonical_email(email)):
            continue
        if not is_pending(holder):
            raise IntegrityError
        signals.registration_failed.announce(
            user=copy.copy(holder),  # delete() removes the primary key from the instance
            client=client,
            identifier=email,
            reason="address_proved_by_another",
        )
        holder.delete()
