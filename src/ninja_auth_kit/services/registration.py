"""Registration: create an account whose email address waits for its verification."""

import copy
from collections.abc import Collection, Mapping
from enum import Enum, auto
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
    password_context,
    release_address,
    settable_field,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.throttling import (
    count_email_from,
    count_email_to,
    count_request,
    new_password_slot,
)
from ninja_auth_kit.services.internal.uniform import render_unsent
from ninja_auth_kit.services.internal.user_fields import (
    check_constraints,
    check_email,
    check_username,
    check_values,
)
from ninja_auth_kit.services.verification import send_verification_link


class Standing(Enum):
    """What is known about an email address when it is registered.

    - NEW: no account has the address.
    - PENDING: the account that has it was never verified (see `is_pending`), so a new registration replaces it.
    - TAKEN: any other account has it.

    The answer to a registration must not reveal which of them it was, and neither may the time that it takes.
    """

    NEW = auto()
    PENDING = auto()
    TAKEN = auto()

    @classmethod
    def of(cls, owner: Any | None) -> "Standing":
        """Return the standing of an address that this user has, or that no user has."""
        if owner is None:
            return cls.NEW
        return cls.PENDING if is_pending(owner) else cls.TAKEN


@sensitive_variables()
def register(
    *,
    email: str,
    password: str,
    client: ClientInfo,
    username: str | None = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Register an email address. The caller does not learn whether it has an account; its owner gets an email.

    What happens depends on the `Standing` of the address:

    - NEW: an account is created, and a verification link is sent.
    - PENDING: the account gets the new password and the new values, because the earlier registration proved nothing.
      A new verification link is sent; it supersedes the earlier one.
    - TAKEN: the account is not changed, and its owner gets a notice. The registration is stored as a shadow, so that
      a login with the new password is answered with "not verified", as for the other two.

    The password is hashed in every case, so all three take the same time.

    Args:
        email: as typed; emails are sent to this spelling.
        password: as typed.
        client: the caller.
        username: required if the user model has a username beside the email address, otherwise None.
        fields: values for further fields of the user model; None means the default of the model.

    Raises:
        RegistrationClosedError: `REGISTRATION_OPEN` is False.
        InvalidInputError: the address, the username, the password or a field breaks a rule, or the username is taken.
            That is the only conflict that is ever disclosed.
        ValueError: `fields` has a field that only the kit or an administrator sets.
        ImproperlyConfigured: there is no page for the verification link.
        ThrottledError: too many requests from this network, or too many passwords hashed for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_request(client)
    page = emails.page_url(Purpose.VERIFY_EMAIL)  # fails, if it fails, before anything is stored
    try:
        candidate = _build_candidate(email=email, username=username, password=password, fields=fields)
        owner = find_user(email) or find_holder(email)
        shadow = ShadowRegistration.objects.for_user(owner)  # queried even if there is no owner
        _require_free_username(candidate)
        with new_password_slot(client):  # before any transaction: no lock may wait for a hash
            candidate.set_password(password)
        match Standing.of(owner):
            case Standing.NEW:
                user = _create(candidate, email=email, client=client)
            case Standing.PENDING:
                user = _replace(owner, candidate, email=email, fields=fields, client=client)
            case Standing.TAKEN:
                _reject_taken(candidate, owner, shadow, email=email, client=client)
                return
    except (RegistrationClosedError, InvalidInputError) as error:
        reason = error.errors[0].code if isinstance(error, InvalidInputError) else error.code
        _announce_failure(email=email, client=client, reason=reason)
        raise
    if user is None:
        _announce_failure(email=email, client=client, reason="concurrent_registration")
    job = partial(send_verification_link, user, email=email, page=page, client=client)
    emails.after_answer(job, using=accounts_database())


@sensitive_variables()
def _build_candidate(*, email: str, username: str | None, password: str, fields: Mapping[str, Any]) -> Any:
    """Return the unsaved user, after all checks that do not depend on which accounts exist."""
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosedError
    check_email(email)
    values = {**check_values(fields, none_is_default=True), email_field(): email}
    model = get_user_model()
    if has_username():
        values[model.USERNAME_FIELD] = check_username(username or "")
    candidate = model(**values)
    check_constraints(candidate)
    check_new_password(password, user=candidate)
    return candidate


def _require_free_username(candidate: Any) -> None:
    """Check that no other account or registration has the username.

    A pending account and a shadow registration do not count if they have the same email address.

    Raises:
        InvalidInputError: the username is taken.
    """
    if not has_username():
        return
    username, canonical = candidate.get_username(), canonical_email(getattr(candidate, email_field()))
    users = type(candidate)._base_manager.using(accounts_database()).select_related("authkit_email")
    same_name = users.filter(**{candidate.USERNAME_FIELD: username})
    shadows = ShadowRegistration.objects.filter(username=username)
    if any(not is_pending(user) or user.authkit_email.canonical != canonical for user in same_name) or any(
        shadow.canonical != canonical for shadow in shadows
    ):
        raise InvalidInputError(
            FieldError("username", "username_taken", _("This username is already in use. Choose another one."))
        )


def _reserve_username(candidate: Any) -> None:
    """Lock the username until the transaction ends, and check again that it is free.

    Raises:
        InvalidInputError: another request has taken the username since the first check.
    """
    if has_username():
        lock_username(str(candidate.get_username()))
        _require_free_username(candidate)


# Standing.NEW


def _create(candidate: Any, *, email: str, client: ClientInfo) -> Any | None:
    """Store the candidate and return it, or None if a concurrent registration of the address was faster.

    Of several concurrent registrations, the first to commit wins. The others change nothing.
    """
    try:
        return _insert(candidate, email=email, client=client)
    except IntegrityError as error:
        if find_user(email) or find_holder(email):
            return None
        _resolve_conflict(error, candidate, email=email)
        return _insert(candidate, email=email, client=client)


def _insert(candidate: Any, *, email: str, client: ClientInfo) -> Any:
    with atomic():
        _reserve_username(candidate)
        address = EmailAddress(user=candidate, email=email, canonical=canonical_email(email))
        for row in (candidate, address):
            row.save(using=accounts_database(), force_insert=True)
        signals.user_registered.announce(user=candidate, client=client, replaced=False)
    return candidate


# Standing.PENDING


def _replace(pending: Any, candidate: Any, *, email: str, fields: Collection[str], client: ClientInfo) -> Any | None:
    """Give the pending account the values of the candidate and return it, or None if it has changed since it was read.

    Of several concurrent registrations, the first to commit wins. The others change nothing.
    """
    try:
        return _update(pending, candidate, email=email, fields=fields, client=client)
    except IntegrityError as error:
        _resolve_conflict(error, candidate, email=email)
        return _update(pending, candidate, email=email, fields=fields, client=client)


def _update(pending: Any, candidate: Any, *, email: str, fields: Collection[str], client: ClientInfo) -> Any | None:
    """Update the pending account in one transaction, or return None if it has changed since it was read.

    A field that the new registration leaves out is set to its default, because the earlier registration may have come
    from a stranger. The new one may, too. The links that the owner of the mailbox already has therefore stay valid,
    because rate limits may keep another email from being sent. The exception is a verification link that needs no
    password, which would verify the address for the account of a stranger.
    """
    with atomic():
        _reserve_username(candidate)
        user = lock_user(pending.pk)
        if user is None or user.password != pending.password or not is_pending(user):
            return None
        before = copy.copy(user)
        _copy_values(candidate, user, fields)
        OneTimeToken.objects.rebind(before=before, after=user)
        if not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
            OneTimeToken.objects.filter(user=user, purpose=Purpose.VERIFY_EMAIL).delete()
        address = user.authkit_email
        address.email, address.canonical = email, canonical_email(email)
        for row in (user, address):
            row.save(using=accounts_database())
        signals.user_registered.announce(user=user, client=client, replaced=True)
    return user


def _copy_values(candidate: Any, user: Any, fields: Collection[str]) -> None:
    user.password = candidate.password
    # As set_password() sets it. save() passes it to the password validators.
    user._password = candidate._password
    setattr(user, email_field(), getattr(candidate, email_field()))
    setattr(user, user.USERNAME_FIELD, candidate.get_username())
    for column in (settable_field(name).attname for name in fields):
        setattr(user, column, getattr(candidate, column))


# Standing.TAKEN


def _reject_taken(
    candidate: Any, owner: Any, shadow: ShadowRegistration | None, *, email: str, client: ClientInfo
) -> None:
    """Store the registration as a shadow, and tell only the owner of the address about it.

    Args:
        candidate: the registration.
        owner: the user who has the address.
        shadow: the shadow registration that the owner had when this registration began.
        email: the address as typed.
        client: the caller.
    """
    username, canonical = candidate.get_username() if has_username() else "", canonical_email(email)
    with atomic():
        _reserve_username(candidate)
        current = lock_user(owner.pk)
        # The owner may have been deleted, or have changed the address, since the user was read.
        if current is not None and has_address(current, canonical):
            ShadowRegistration.objects.record(
                user=owner, canonical=canonical, username=username, password=candidate.password, previous=shadow
            )
    # After the transaction, as for other failures. Inside it, the event would be written through a
    # second connection, and the time that this takes would reveal that the address is taken.
    _announce_failure(email=email, client=client, reason="address_in_use", user=owner)
    emails.after_answer(partial(_notify_owner, owner.pk, email, client), using=accounts_database())


def _notify_owner(owner_id: Any, email: str, client: ClientInfo) -> None:
    send_account_exists(owner_id, email=email, client=client, may_email=count_email_from(client))


def send_account_exists(owner_id: Any, *, email: str, client: ClientInfo, may_email: bool) -> None:
    """Send the owner of an address a notice that the address was registered again, or requested for another account.

    Run it after the answer, with `emails.after_answer`. If no email may be sent, one is rendered and discarded.

    Args:
        owner_id: the primary key of the owner.
        email: the address. An owner who has another address by now gets no notice.
        client: the caller who tried to use the address.
        may_email: whether the rate limit of the caller's network lets it cause an email.
    """
    owner = user_by_pk(owner_id)  # None if your project's default manager hides the user
    is_owner = owner is not None and getattr(owner, "is_active", True) and has_address(owner, canonical_email(email))
    may_notify = may_email and is_owner
    if owner is None or not may_notify or not count_email_to(stored_email(owner), client=client, is_notice=True):
        render_unsent("account_exists", emails.site_context())
        return
    context = {**emails.site_context(), **password_context(owner)}
    emails.send("account_exists", to=stored_email(owner), context=context)


# Shared by the branches


def _resolve_conflict(error: IntegrityError, candidate: Any, *, email: str) -> None:
    """Remove what keeps the candidate from being stored, so that the caller can try again.

    Raises:
        InvalidInputError: the username is taken.
        IntegrityError: `error`, if its cause is something else.
    """
    if release_address(email):  # it was noted for a user who has another address by now
        return
    _require_free_username(candidate)
    raise error


def _announce_failure(*, email: str, client: ClientInfo, reason: str, user: Any | None = None) -> None:
    signals.registration_failed.announce(user=user, client=client, identifier=email, reason=reason)
