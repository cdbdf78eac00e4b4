"""Registration: create an account whose email address waits for its verification."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import InvalidInputError, RegistrationClosedError
from ninja_auth_kit.models import EmailAddress, OneTimeToken, PromisedEmail, ShadowRegistration
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.promised_emails import EmailKind, NewEmail
from ninja_auth_kit.models.unique_values import UniqueValues
from ninja_auth_kit.models.users import (
    email_field,
    find_holder,
    has_address,
    has_username,
    is_pending,
    lock_user,
    password_context,
    release_address,
    replaceable_fields,
    settable_field,
    stored_email,
)
from ninja_auth_kit.services.internal.lapsed_registrations import (
    Holding,
    release_values,
    require_lapsed,
    require_released,
)
from ninja_auth_kit.services.internal.password_hashing import set_normalized_password
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.promises import promise, sends, user_of
from ninja_auth_kit.services.internal.throttling import (
    count_email_to,
    count_request,
    new_password_slot,
)
from ninja_auth_kit.services.internal.uniform import render_unsent
from ninja_auth_kit.services.internal.user_creation import has_hook, new_user, set_fields
from ninja_auth_kit.services.internal.user_fields import (
    as_input_error,
    check_constraints,
    check_email,
    check_username,
    check_values,
)
from ninja_auth_kit.services.verification import verification_link


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


@dataclass(frozen=True)
class Registration:
    """A registration that is allowed as far as that does not depend on which accounts exist.

    Attributes:
        unique: the unsaved user, and its unique values.
        email: the address as typed.
        canonical: the address in its canonical spelling.
        fields: the values for further fields of the user model.
        client: the caller.
        page: the URL that the verification link opens, if one is sent.
    """

    unique: UniqueValues
    email: str
    canonical: str
    fields: Mapping[str, Any]
    client: ClientInfo
    page: str = ""

    @property
    def candidate(self) -> Any:
        """Return the unsaved user."""
        return self.unique.user


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
      A new verification link is sent; the earlier ones stay valid.
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
        InvalidInputError: the address, the username, the password or a field breaks a rule, or the username or another
            unique value is taken. No conflict about the address is ever disclosed.
        ValueError: `fields` has a field that only the kit or an administrator sets.
        ImproperlyConfigured: there is no page for the verification link, or `CREATE_USER` returned something else than
            an unsaved user.
        ThrottledError: too many requests from this network, or too many emails or hashed passwords for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    count_request(client)
    page = emails.page_url(Purpose.VERIFY_EMAIL)  # fails, if it fails, before anything is stored
    try:
        candidate = build_candidate(email=email, username=username, fields=fields)
        check_new_password(password, user=candidate)
        owner = find_holder(email)
        unique = UniqueValues(candidate, set_fields(candidate, fields))
        new = Registration(unique, email, canonical_email(email), fields, client, page)
        shadows = ShadowRegistration.objects.related(owner=owner, keys=unique.keys.values())
        lapsed = require_free_values(new, shadows)
        with new_password_slot(client, causes_email=True):  # before any transaction: no lock may wait for a hash
            set_normalized_password(candidate, password)
        release_values(unique, lapsed)
        match Standing.of(owner):
            case Standing.NEW:
                user = _create(new)
            case Standing.PENDING:
                user = _replace(owner, new)
            case Standing.TAKEN:
                _reject_taken(owner, new, previous=_shadow_of(owner, shadows))
                return
    except (RegistrationClosedError, InvalidInputError) as error:
        reason = error.errors[0].code if isinstance(error, InvalidInputError) else error.code
        _announce_failure(email=email, client=client, reason=reason)
        raise
    if user is None:
        _announce_failure(email=email, client=client, reason="concurrent_registration")
        promise(verification_link(None, page=page, client=client))


def build_candidate(*, email: str, username: str | None, fields: Mapping[str, Any]) -> Any:
    """Return the unsaved user without a password, after all checks that do not depend on which accounts exist.

    Raises:
        RegistrationClosedError: `REGISTRATION_OPEN` is False.
        InvalidInputError: the address, the username or a field breaks a rule.
    """
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosedError
    check_email(email)
    values = {**check_values(fields, none_is_default=True), email_field(): email}
    if has_username():
        values[get_user_model().USERNAME_FIELD] = check_username(username or "")
    candidate = new_user(values, email=email)
    check_constraints(candidate)
    return candidate


def require_free_values(new: Registration, shadows: Collection[ShadowRegistration]) -> list[Holding]:
    """Check that no other account or registration has a unique value, and return the lapsed ones that have one.

    A pending account and a shadow registration do not count if they have the same email address.

    Args:
        new: the registration.
        shadows: the shadow registrations that hold some of its unique values.

    Raises:
        InvalidInputError: a value is taken.
    """
    holdings: list[Holding] = [
        (rule, user)
        for rule, user in new.unique.holders()
        if not is_pending(user) or user.authkit_email.canonical != new.canonical
    ]
    for shadow in shadows:
        if shadow.canonical != new.canonical:
            holdings += [(rule, shadow) for rule in new.unique.rules_of(shadow.held)]
    return require_lapsed(holdings, new.candidate, sent=new.fields)


def reserve_values(new: Registration) -> None:
    """Lock the unique values until the transaction ends, and check again that they are free.

    Raises:
        InvalidInputError: another request has taken a value since the first check, or a lapsed registration could not
            be made to release it.
    """
    if not new.unique.keys:
        return
    new.unique.lock()
    shadows = ShadowRegistration.objects.related(keys=new.unique.keys.values())
    require_released(require_free_values(new, shadows), sent=new.fields)


# Standing.NEW


def _create(new: Registration) -> Any | None:
    """Store the candidate and return it, or None if a concurrent registration of the address was faster.

    Of several concurrent registrations, the first to commit wins. The others change nothing.
    """
    try:
        return _insert(new)
    except IntegrityError as error:
        if find_holder(new.email):
            return None
        resolve_conflict(error, new)
        return _insert(new)


def _insert(new: Registration) -> Any:
    user = new.candidate
    with atomic():
        reserve_values(new)
        now = timezone.now()
        address = EmailAddress(user=user, email=new.email, canonical=new.canonical, registered_at=now)
        for row in (user, address):
            row.save(using=accounts_database(), force_insert=True)
        promise(verification_link(user, page=new.page, client=new.client))
        signals.user_registered.announce(user=user, client=new.client, replaced=False)
    return user


# Standing.PENDING


def _replace(pending: Any, new: Registration) -> Any | None:
    """Give the pending account the values of the candidate and return it, or None if it has changed since it was read.

    Of several concurrent registrations, the first to commit wins. The others change nothing.
    """
    try:
        return _update(pending, new)
    except IntegrityError as error:
        resolve_conflict(error, new)
        return _update(pending, new)


def _update(pending: Any, new: Registration) -> Any | None:
    """Update the pending account in one transaction, or return None if it has changed since it was read.

    A field that the new registration leaves out is set to its default, because the earlier registration may have come
    from a stranger. The new one may, too. The links that the owner of the mailbox already has therefore stay valid,
    because rate limits may keep another email from being sent. The exception is a verification link that needs no
    password, which would verify the address for the account of a stranger.
    """
    with atomic():
        reserve_values(new)
        user = lock_user(pending.pk)
        if user is None or user.password != pending.password or not is_pending(user):
            return None
        before = copy.copy(user)
        _copy_values(new.candidate, user, new.fields)
        OneTimeToken.objects.rebind(before=before, after=user)
        if not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
            OneTimeToken.objects.filter(user=user, purpose=Purpose.VERIFY_EMAIL).delete()
        address = user.authkit_email
        address.email, address.canonical = new.email, new.canonical
        address.registered_at = address.registered_at and timezone.now()  # None if the account is from elsewhere
        for row in (user, address):
            row.save(using=accounts_database())
        promise(verification_link(user, page=new.page, client=new.client))
        signals.user_registered.announce(user=user, client=new.client, replaced=True)
    return user


def _copy_values(candidate: Any, user: Any, fields: Collection[str]) -> None:
    user.password = candidate.password
    # As set_password() sets it. save() passes it to the password validators.
    user._password = candidate._password
    setattr(user, email_field(), getattr(candidate, email_field()))
    setattr(user, user.USERNAME_FIELD, candidate.get_username())
    # `CREATE_USER` may have set any field.
    for field in replaceable_fields() if has_hook() else map(settable_field, fields):
        setattr(user, field.attname, getattr(candidate, field.attname))


# Standing.TAKEN


def _shadow_of(owner: Any, shadows: Collection[ShadowRegistration]) -> ShadowRegistration | None:
    return next((shadow for shadow in shadows if shadow.user_id == owner.pk), None)


def _reject_taken(owner: Any, new: Registration, *, previous: ShadowRegistration | None) -> None:
    """Store the registration as a shadow, and tell only the owner of the address about it.

    Args:
        owner: the user who has the address.
        new: the registration.
        previous: the shadow registration that the owner had when this registration began.
    """
    shadow = ShadowRegistration(
        user=owner,
        canonical=new.canonical,
        username=new.candidate.get_username() if has_username() else "",
        held=new.unique.held(),
        password=new.candidate.password,
    )
    with atomic():
        reserve_values(new)
        current = lock_user(owner.pk)
        # The owner may have been deleted, or have changed the address, since the user was read.
        if current is not None and has_address(current, new.canonical):
            ShadowRegistration.objects.record(shadow, previous=previous)
        promise(NewEmail(EmailKind.ACCOUNT_EXISTS, owner, new.client, address=new.email))
    # After the transaction, as for other failures. Inside it, the event would be written through a
    # second connection, and the time that this takes would reveal that the address is taken.
    _announce_failure(email=new.email, client=new.client, reason="address_in_use", user=owner)


@sends(EmailKind.ACCOUNT_EXISTS)
def _notify_owner(promised: PromisedEmail) -> None:
    owner = user_of(promised)  # None if your project's default manager hides the user
    is_genuine = owner is not None and promised.is_bound_to()
    send_account_exists(owner if is_genuine else None, email=promised.address, client=promised.first_client())


def send_account_exists(owner: Any | None, *, email: str, client: ClientInfo | None) -> None:
    """Send the owner of an address a notice that the address was registered again, or requested for another account.

    If no email may be sent, one is rendered and discarded.

    Args:
        owner: the owner as it is now, or None.
        email: the address. An owner who has another address by now gets no notice.
        client: the caller who tried to use the address; None if the email is counted already.
    """
    is_owner = owner is not None and getattr(owner, "is_active", True) and has_address(owner, canonical_email(email))
    if owner is None or not is_owner or not count_email_to(stored_email(owner), client=client, is_notice=True):
        render_unsent("account_exists", emails.site_context())
        return
    context = {**emails.site_context(), **password_context(owner)}
    emails.send("account_exists", to=stored_email(owner), context=context)


# Shared by the branches


def resolve_conflict(error: IntegrityError, new: Registration) -> None:
    """Remove what keeps the candidate from being stored, so that the caller can try again.

    Raises:
        InvalidInputError: a unique value is taken.
        IntegrityError: `error`, if its cause is something else.
    """
    if release_address(new.email):  # it was noted for a user who has another address by now
        return
    require_free_values(new, ())
    raise as_input_error(error, new.fields, only_taken=True) or error from error


def _announce_failure(*, email: str, client: ClientInfo, reason: str, user: Any | None = None) -> None:
    signals.registration_failed.announce(user=user, client=client, identifier=email, reason=reason)
