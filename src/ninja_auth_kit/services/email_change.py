"""Email change: requested with the password, and confirmed with a link that is sent to the new address."""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, WrongPasswordError
from ninja_auth_kit.models import OneTimeToken, ShadowRegistration, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
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
from ninja_auth_kit.services.internal.email_links import link_context, reject_token
from ninja_auth_kit.services.internal.password_hashing import is_password
from ninja_auth_kit.services.internal.throttling import (
    count_email_from,
    count_email_to,
    count_owner_email,
    count_request,
    password_check,
)
from ninja_auth_kit.services.internal.user_fields import check_email
from ninja_auth_kit.services.registration import send_account_exists

# Jobs may run in another order than they were requested, at most this far apart.
_OUT_OF_ORDER = timedelta(minutes=1)


@dataclass(frozen=True)
class _EmailChange:
    """A requested change, for the job that sends its link."""

    user_id: Any
    account_state: str = field(repr=False)  # contains the hash of the password
    new_email: str
    page: str
    expires_at: datetime
    client: ClientInfo


@sensitive_variables()
def request_email_change(*, user: Any, new_email: str, password: str, client: ClientInfo) -> None:
    """Send a link to the new address, and a notice to the present one. The account does not change yet.

    If an account has the new address, that account gets a notice and no link is sent. The caller does not learn that.

    Args:
        user: the owner of the account, who is logged in.
        new_email: as typed; the link is sent to this spelling.
        password: as typed.
        client: the caller.

    Raises:
        WrongPasswordError: `password` is not the password of the account.
        InvalidInputError: `new_email` is not a valid address, or is the address that the account has.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many wrong passwords for this account, or too many requests from this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_request(client)
    page = emails.page_url(Purpose.CHANGE_EMAIL)
    with password_check(user=user, client=client):
        if not is_password(password, user.password):
            signals.email_change_failed.announce(user=user, client=client, reason="wrong_password")
            raise WrongPasswordError
    canonical = check_email(new_email, field="new_email")
    if has_address(user, canonical):
        raise InvalidInputError(
            FieldError("new_email", "email_unchanged", _("This is already your email address. Enter a different one."))
        )
    signals.email_change_requested.announce(user=user, client=client)
    change = _EmailChange(
        user_id=user.pk,
        account_state=account_state(user),
        new_email=new_email,
        page=page,
        expires_at=timezone.now() + settings.EMAIL_VERIFICATION_LIFETIME,
        client=client,
    )
    emails.after_answer(partial(_send_link, change), using=accounts_database())
    notice = partial(_send_notice, "email_change_requested", stored_email(user))
    emails.after_answer(notice, using=accounts_database())


def _send_link(change: _EmailChange) -> None:
    """Send the link to the new address, or a notice to the account that has the address."""
    user = _unchanged_user(change)
    if user is None:
        return
    is_repeated = _has_unused_token(user, change)
    may_email = count_email_to(change.new_email, client=change.client)
    if is_repeated and not may_email:
        return  # the link that was sent to this address before stays valid
    token = _supersede_token(user, change)
    if token is not None and may_email:
        _email_new_address(change, token)


def _unchanged_user(change: _EmailChange) -> Any | None:
    """Return the user, or None if the account has changed since the request or its network may cause no email."""
    may_email, user = count_email_from(change.client), user_by_pk(change.user_id)
    if not may_email or user is None or account_state(user) != change.account_state:
        return None
    return user


def _has_unused_token(user: Any, change: _EmailChange) -> bool:
    unused = {"user": user, "purpose": Purpose.CHANGE_EMAIL, "used_at": None}
    return OneTimeToken.objects.filter(**unused, email=change.new_email).exists()


def _supersede_token(user: Any, change: _EmailChange) -> str | None:
    """Return a new token, or None if a later request for another address has one, because jobs run in any order.

    The token is issued even if the new address is taken or gets no email. Attack: otherwise a link to an earlier
    address, for example the attacker's own, would stay valid in these cases only, and reveal them.

    Tests:
    tests/test_email_change.py::test_an_older_link_dies_whether_or_not_the_next_address_is_in_use
    tests/test_email_change.py::test_that_an_older_link_lives_on_does_not_tell_whether_the_next_address_has_had_its_mails
    """
    purpose = Purpose.CHANGE_EMAIL
    with atomic():
        if lock_user(user.pk) is None:
            return None
        later = {"expires_at__gt": change.expires_at, "expires_at__lt": change.expires_at + _OUT_OF_ORDER}
        tokens = OneTimeToken.objects.filter(user=user, purpose=purpose, used_at=None, **later)
        if tokens.exclude(email=change.new_email).exists():
            return None
        return OneTimeToken.objects.issue(
            purpose=purpose, user=user, email=change.new_email, expires_at=change.expires_at
        )


def _email_new_address(change: _EmailChange, token: str) -> None:
    owner = find_holder(change.new_email)
    if owner is not None and not is_pending(owner):
        send_account_exists(owner.pk, email=change.new_email, client=change.client, may_email=True)
        return
    context = link_context(change.page, token, settings.EMAIL_VERIFICATION_LIFETIME)
    emails.send("change_email", to=change.new_email, context=context)


def _send_notice(template: str, to: str) -> None:
    if to and count_owner_email(to):
        emails.send(template, to=to, context=emails.site_context())


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
    former = stored_email(row.user)
    if not _change_email(row, client=client):
        raise reject_token(signals.email_change_failed, "superseded", client=client, user=row.user)
    emails.after_answer(partial(_send_notice, "email_changed", former), using=accounts_database())


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
            setattr(user, email_field(), row.email)
            user.save(using=accounts_database(), update_fields=[email_field()])
            mark_address_verified(user, row.email)
            ended = UserSession.objects.end(reason=EndReason.EMAIL_CHANGED, user_id=user.pk)
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
