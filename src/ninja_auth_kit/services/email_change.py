"""Another address for an account: asked for with the password, made true by a link that goes to the new address."""

import copy
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, InvalidOneTimeTokenError, WrongPasswordError
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
from ninja_auth_kit.services.internal.email_links import link_context
from ninja_auth_kit.services.internal.identifiers import checked_email
from ninja_auth_kit.services.internal.throttling import (
    count_email_from,
    count_email_to,
    count_owner_email,
    count_refused_token,
    count_request,
    password_check,
)
from ninja_auth_kit.services.registration import send_account_exists

# By how much mails may leave in another order than they were asked for, at most.
_OUT_OF_ORDER = timedelta(minutes=1)


@sensitive_variables()
def request_email_change(*, user: Any, new_email: str, password: str, client: ClientInfo) -> None:
    """Mail a link to the new address, and a notice to the one that the account has. Nothing changes yet.

    Where the new address is in use nothing comes of it but a notice to its owner; the caller never learns that.

    Args:
        user: whose; logged in.
        new_email: as typed; the link goes to this spelling.
        password: as typed.
        client: who is calling.

    Raises:
        WrongPasswordError: `password` is not that of the account.
        InvalidInputError: `new_email` is no address, or the one that the account has.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many wrong passwords for this account, or requests from this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_request(client)
    page = emails.page_url(Purpose.CHANGE_EMAIL)
    with password_check(user=user, client=client):
        if not check_password(password, user.password):
            _announce_failure("wrong_password", client=client, user=user)
            raise WrongPasswordError
    canonical = checked_email(new_email, field="new_email")
    if has_address(user, canonical):
        raise InvalidInputError(
            FieldError("new_email", "email_unchanged", _("This is already your email address. Enter a different one."))
        )
    signals.email_change_requested.announce(user=user, client=client)
    expires_at = timezone.now() + settings.EMAIL_VERIFICATION_LIFETIME
    job = partial(_mail_link, user.pk, account_state(user), new_email, page, expires_at, client)
    emails.after_answer(job, using=accounts_database())
    emails.after_answer(partial(_mail_notice, "email_change_requested", stored_email(user)), using=accounts_database())


@sensitive_variables()
def confirm_email_change(*, token: str, client: ClientInfo) -> None:
    """Give the account the address that the token was mailed to. All sessions end, and all other links die.

    Args:
        token: as it was mailed.
        client: who is calling.

    Raises:
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, the address is
            in use by now, or the user has changed the password or been disabled.
        ThrottledError: too many refused tokens from this network.
    """
    row = OneTimeToken.objects.find(purpose=Purpose.CHANGE_EMAIL, token=token)
    if row is None:
        raise _refused("invalid_token", client=client)
    former = stored_email(row.user)
    if not _change(row, client=client):
        raise _refused("superseded", client=client, user=row.user)
    emails.after_answer(partial(_mail_notice, "email_changed", former), using=accounts_database())


def _change(row: OneTimeToken, *, client: ClientInfo) -> bool:
    """Consume the token and change the address, in one transaction; False where that is not possible any more."""
    try:
        with atomic():
            user = lock_user(row.user_id)
            if user is None or not _is_current(row, user) or not OneTimeToken.objects.consume(row):
                return False
            if not _freed(row.email, user, client=client):
                raise IntegrityError  # and so the token is not used up
            setattr(user, email_field(), row.email)
            user.save(using=accounts_database(), update_fields=[email_field()])
            mark_address_verified(user, row.email)
            ended = UserSession.objects.end(reason=EndReason.EMAIL_CHANGED, user_id=user.pk)
            OneTimeToken.objects.filter(user=user).exclude(pk=row.pk).delete()
            ShadowRegistration.objects.filter(user=user).delete()  # it was of the former address
            signals.email_changed.announce(user=user, client=client, sessions_ended=len(ended))
            return True
    except (IntegrityError, InvalidEmailError):  # another account has taken the address in the meantime
        return False


def _is_current(row: OneTimeToken, user: Any) -> bool:
    return may_authenticate(user) and row.is_bound_to(user)


def _freed(email: str, user: Any, *, client: ClientInfo) -> bool:
    """Free an address from registrations that have proved nothing; False where somebody else has it."""
    for found in find_holders(email):
        holder = lock_user(found.pk) if found.pk != user.pk else None
        if holder is None or not has_address(holder, canonical_email(email)):
            continue
        if not is_pending(holder):
            return False
        signals.registration_failed.announce(
            user=copy.copy(holder),
            client=client,
            identifier=email,
            reason="address_proved_by_another",
        )
        holder.delete()
    return True


def _mail_link(key: Any, state: str, new_email: str, page: str, expires_at: datetime, client: ClientInfo) -> None:
    is_free, user = count_email_from(client), user_by_pk(key)
    if not is_free or user is None or account_state(user) != state:
        return
    asked = OneTimeToken.objects.filter(user=user, purpose=Purpose.CHANGE_EMAIL, used_at=None, email=new_email)
    is_repeated, may_go = asked.exists(), count_email_to(new_email, client=client)
    if is_repeated and not may_go:
        return
    # A link to another address dies even where this one is in use, or has had its mails: its life would tell of that.
    token = _issue(user, new_email, expires_at)
    if token is None or not may_go:
        return
    lifetime = settings.EMAIL_VERIFICATION_LIFETIME
    owner = find_holder(new_email)
    if owner is not None and not is_pending(owner):
        send_account_exists(owner.pk, email=new_email, client=client, is_free=is_free)
        return
    emails.send("change_email", to=new_email, context=link_context(page, token, lifetime))


def _issue(user: Any, new_email: str, expires_at: datetime) -> str | None:
    """Return a token, or None where another address was asked for later: mails leave in no order."""
    purpose = Purpose.CHANGE_EMAIL
    with atomic():
        if lock_user(user.pk) is None:
            return None
        newer = {"expires_at__gt": expires_at, "expires_at__lt": expires_at + _OUT_OF_ORDER}
        if OneTimeToken.objects.filter(user=user, purpose=purpose, used_at=None, **newer).exists():
            return None
        return OneTimeToken.objects.issue(purpose=purpose, user=user, email=new_email, expires_at=expires_at)


def _mail_notice(template: str, to: str) -> None:
    if to and count_owner_email(to):
        emails.send(template, to=to, context=emails.site_context())


def _refused(reason: str, *, client: ClientInfo, user: Any | None = None) -> InvalidOneTimeTokenError:
    count_refused_token(client)
    _announce_failure(reason, client=client, user=user)
    return InvalidOneTimeTokenError()


def _announce_failure(reason: str, *, client: ClientInfo, user: Any | None) -> None:
    signals.email_change_failed.announce(user=user, client=client, reason=reason)
