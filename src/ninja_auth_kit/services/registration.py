"""Registration: an account that waits for its address to be verified."""

import copy
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, RegistrationClosedError
from ninja_auth_kit.models import EmailAddress, OneTimeToken, ShadowRegistration
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.users import (
    email_field,
    find_holder,
    find_user,
    has_address,
    has_username,
    is_pending,
    lock_user,
    lock_username,
    release_address,
    settable_field,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.internal.custom_fields import checked_values, refuse_broken_rules
from ninja_auth_kit.services.internal.identifiers import checked_email, checked_username
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.throttling import (
    count_email_from,
    count_email_to,
    count_request,
    new_password_slot,
)
from ninja_auth_kit.services.verification import send_verification_link, verification_page


@sensitive_variables()
def register(
    *,
    email: str,
    password: str,
    client: ClientInfo,
    username: str | None = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Register an address. The caller learns nothing about who has an account; the owner of the address gets a mail.

    A new address gets an account and a verification link. An address that waits for its verification gets the new
    password and a new link, in the place of the old one: whoever registered first proved nothing. Where the address is
    in use its account stays as it is and its owner is told by mail; the shadow of the registration sees to it that a
    login with the new password gets "not verified", as elsewhere. The password is hashed in every case, so all take as
    long.

    Args:
        email: as typed; mails go to this spelling.
        password: as typed.
        client: who is calling.
        username: required where the user model has a name beside the address, None where it has not.
        fields: further fields of the user model; None as a value stands for the model's default.

    Raises:
        RegistrationClosedError: `REGISTRATION_OPEN` is False.
        InvalidInputError: the address, the name, the password or a field breaks a rule, or the name is taken: the
            only conflict ever disclosed.
        ValueError: `fields` has one that only the kit or an administrator sets.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network, or passwords hashed for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_request(client)
    page = verification_page()  # without one nobody could ever verify: let it fail before anything is stored
    try:
        candidate = _candidate(email=email, username=username, password=password, fields=fields)
        owner = find_user(email) or find_holder(email)
        pending = owner if owner is not None and is_pending(owner) else None
        shadow = ShadowRegistration.objects.for_user(owner)
        _refuse_taken_name(candidate)
        with new_password_slot(client):  # before any transaction: no lock waits for a hash
            candidate.set_password(password)
        if owner is not None and pending is None:
            _turn_away(candidate, owner, shadow, email=email, client=client)
            return
        user = _save(candidate, pending, email=email, fields=fields, client=client)
    except (RegistrationClosedError, InvalidInputError) as refusal:
        reason = refusal.errors[0].code if isinstance(refusal, InvalidInputError) else refusal.code
        _announce_failure(email=email, client=client, reason=reason)
        raise
    if user is None:
        _announce_failure(email=email, client=client, reason="concurrent_registration")
    send_verification_link(user, email=email, page=page, client=client)


@sensitive_variables()
def _candidate(*, email: str, username: str | None, password: str, fields: Mapping[str, Any]) -> Any:
    """Return the unsaved user, with everything checked that needs no look at who is there already."""
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosedError
    checked_email(email)
    values = {**checked_values(fields, none_is_default=True), email_field(): email}
    model = get_user_model()
    if has_username():
        values[model.USERNAME_FIELD] = checked_username(username or "")
    candidate = model(**values)
    refuse_broken_rules(candidate)
    check_new_password(password, user=candidate)
    return candidate


def _refuse_taken_name(candidate: Any) -> None:
    """Refuse the name of somebody else. A registration of the same address, waiting or turned away, is no one else."""
    if not has_username():
        return
    name, canonical = candidate.get_username(), canonical_email(getattr(candidate, email_field()))
    users = type(candidate)._base_manager.using(accounts_database()).select_related("authkit_email")
    namesakes = users.filter(**{candidate.USERNAME_FIELD: name})
    shadows = ShadowRegistration.objects.filter(username=name)
    if any(not is_pending(user) or user.authkit_email.canonical != canonical for user in namesakes) or any(
        shadow.canonical != canonical for shadow in shadows
    ):
        raise InvalidInputError(FieldError("username", "username_taken", _("This username is taken.")))


def _hold_name(candidate: Any) -> None:
    """Let nobody else take the name before the transaction ends; by now somebody may have it."""
    if has_username():
        lock_username(str(candidate.get_username()))
        _refuse_taken_name(candidate)


def _turn_away(
    candidate: Any, owner: Any, shadow: ShadowRegistration | None, *, email: str, client: ClientInfo
) -> None:
    """Tell the owner of an address, and nobody else, that somebody tried to register it."""
    username, canonical = candidate.get_username() if has_username() else "", canonical_email(email)
    with atomic():
        _hold_name(candidate)
        locked = lock_user(owner.pk)
        if locked is not None and has_address(locked, canonical):  # neither deleted nor gone elsewhere in the meantime
            ShadowRegistration.objects.record(
                user=owner, canonical=canonical, username=username, password=candidate.password, previous=shadow
            )
    # Behind the transaction, as elsewhere: inside it takes a second connection, and the time would tell.
    _announce_failure(email=email, client=client, reason="address_in_use", user=owner)
    emails.after_answer(partial(_mail_turned_away, owner.pk, email, client), using=accounts_database())


def _mail_turned_away(key: Any, email: str, client: ClientInfo) -> None:
    send_account_exists(key, email=email, client=client, is_free=count_email_from(client))


def send_account_exists(key: Any, *, email: str, client: ClientInfo, is_free: bool) -> None:
    """Tell the owner of an address that somebody tried to use it. For one who is not to be told, it costs as much.

    Args:
        key: the owner's primary key.
        email: the address; who has another by now is told nothing.
        client: who tried.
        is_free: whether that network may cause a mail.
    """
    owner = user_by_pk(key)  # None for whom the host's default manager hides
    is_owner = owner is not None and getattr(owner, "is_active", True) and has_address(owner, canonical_email(email))
    is_told = is_free and is_owner
    if owner is None or not is_told or not count_email_to(stored_email(owner), client=client, is_notice=True):
        emails.render("account_exists", to="", context=emails.site_context())  # as much work as for somebody
        return
    emails.send("account_exists", to=stored_email(owner), context=emails.site_context())


def _save(
    candidate: Any, pending: Any | None, *, email: str, fields: Collection[str], client: ClientInfo
) -> Any | None:
    """Store the registration and return its user, or None where another of the same address came first.

    Of several that run at once the first to commit wins. The others have read the state before it, find it changed,
    and change nothing.
    """
    try:
        return _store(candidate, pending, email=email, fields=fields, client=client)
    except IntegrityError:
        if pending is None and (find_user(email) or find_holder(email)):
            return None
        if release_address(email):
            return _store(candidate, pending, email=email, fields=fields, client=client)
        _refuse_taken_name(candidate)  # somebody else was quicker with the name
        raise


def _store(
    candidate: Any, pending: Any | None, *, email: str, fields: Collection[str], client: ClientInfo
) -> Any | None:
    with atomic():
        _hold_name(candidate)
        user = candidate if pending is None else _replaced(candidate, pending, fields)
        if user is None:
            return None
        address = EmailAddress(user=user) if pending is None else user.authkit_email
        address.email, address.canonical = email, canonical_email(email)
        for row in (user, address):
            row.save(using=accounts_database(), force_insert=pending is None)
        signals.user_registered.announce(user=user, client=client, replaced=pending is not None)
        return user


def _replaced(candidate: Any, pending: Any, fields: Collection[str]) -> Any | None:
    """Return the pending user with the new registration's values, or None where it is not the one that was read.

    A field that the new registration leaves out goes back to its default: whoever came first may have been a stranger.
    So may whoever comes now: the links that the owner of the mailbox has go on working, for there may be no mail with
    another. Only one that needs no password would prove the address for a stranger's.
    """
    user = lock_user(pending.pk)
    if user is None or user.password != pending.password or not is_pending(user):
        return None
    before = copy.copy(user)
    user.password = candidate.password
    user._password = candidate._password  # as set_password() leaves it, for save() to tell the password validators
    setattr(user, email_field(), getattr(candidate, email_field()))
    setattr(user, user.USERNAME_FIELD, candidate.get_username())
    for column in (settable_field(name).attname for name in fields):
        setattr(user, column, getattr(candidate, column))
    OneTimeToken.objects.rebind(before=before, after=user)
    if not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
        OneTimeToken.objects.filter(user=user, purpose=Purpose.VERIFY_EMAIL).delete()
    return user


def _announce_failure(*, email: str, client: ClientInfo, reason: str, user: Any | None = None) -> None:
    signals.registration_failed.announce(user=user, client=client, identifier=email, reason=reason)
