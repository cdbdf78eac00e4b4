"""The host's users, seen from the kit: who holds an address, whether it is proved, and the lock of a user's row."""

from typing import Any

from django.contrib.auth import get_backends, get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.utils import timezone

from ninja_auth_kit.conf import settings
from ninja_auth_kit.models import user_queries
from ninja_auth_kit.models.email_addresses import EmailAddress, InvalidEmailError, canonical_email, readable_email
from ninja_auth_kit.models.primary import database

# The first half of the advisory locks' keys; the second is the name. Any constant that is ours alone.
_NAME_LOCKS = 0x4E414B32


def email_field() -> str:
    """Return the name of the user model's e-mail field."""
    return get_user_model().get_email_field_name()


def has_username() -> bool:
    """Tell whether users have a name beside their address: USERNAME_FIELD is not the e-mail field."""
    return email_field() != get_user_model().USERNAME_FIELD


def is_verified(user: Any) -> bool:
    """Tell whether the address that the user has now is the one that was proved."""
    address: EmailAddress | None = getattr(user, "authkit_email", None)
    return address is not None and address.verified_at is not None and has_address(user, address.canonical)


def is_pending(user: Any) -> bool:
    """Tell whether a user is nothing but a registration that was never verified, and so may be replaced.

    Users of the host from before the kit have no `EmailAddress` and are never replaced; nor is anybody who ever
    logged in, was given rights or was banned.
    """
    address = getattr(user, "authkit_email", None)
    return (
        settings.EMAIL_VERIFICATION_REQUIRED
        and address is not None
        and address.verified_at is None
        and getattr(user, "last_login", None) is None
        and getattr(user, "is_active", True)
        and not getattr(user, "is_staff", False)
        and not getattr(user, "is_superuser", False)
    )


def find_user(email: str) -> Any | None:
    """Return the user who holds an address, with `authkit_email` loaded; None for nobody.

    Users without an `EmailAddress` (those of the host from before the kit) are found by their e-mail field. Both ways
    are one statement, so an address that nobody has takes as long. Where several users share an address and none has
    proved it, nobody holds it.

    Raises:
        InvalidEmailError: `email` is no address.
    """
    found = _holders(email, everybody=False)
    proved = [user for user in found if is_verified(user)]
    if proved:
        return proved[0]
    return found[0] if len(found) == 1 else None


def find_user_by_name(username: str) -> Any | None:
    """Return the user whose USERNAME_FIELD has this value, with `authkit_email` loaded, or None."""
    model = get_user_model()
    try:
        users = model._default_manager.using(database()).select_related("authkit_email")
        return users.filter(**{model.USERNAME_FIELD: model.normalize_username(username)}).first()
    except (ValueError, ValidationError):  # nothing that the field can have
        return None


def user_by_key(key: Any) -> Any | None:
    """Return the user with this primary key, with `authkit_email` loaded, or None."""
    return next(user_queries.by_key(key, alias=database()), None)


def find_holders(email: str) -> list[Any]:
    """Return all who have this address, even those whom the default manager hides: it is not free while they do.

    Raises:
        InvalidEmailError: `email` is no address.
    """
    return _holders(email, everybody=True)


def _holders(email: str, *, everybody: bool) -> list[Any]:
    canonical = canonical_email(email)
    found = user_queries.holders(canonical, readable_email(canonical), alias=database(), everybody=everybody)
    return [user for user in found if has_address(user, canonical)]


def find_holder(email: str) -> Any | None:
    """Return one of `find_holders`; one whose registration merely waits only if there is no other."""
    return min(find_holders(email), key=is_pending, default=None)


def release_address(email: str) -> bool:
    """Free an address that is still noted for a user who has another by now; tell whether there was such a note."""
    address = EmailAddress.objects.select_related("user").filter(canonical=canonical_email(email)).first()
    if address is None or has_address(address.user, address.canonical):
        return False
    address.delete()
    return True


def prove_address(user: Any, email: str) -> None:
    """Note that a user has proved an address, and free it from whoever held it and has another by now.

    Args:
        user: who, locked.
        email: the address, in the spelling that mails go to.

    Raises:
        InvalidEmailError: it is no address.
        IntegrityError: another user has proved it.
    """
    release_address(email)
    values = {"email": email, "canonical": canonical_email(email), "verified_at": timezone.now()}
    EmailAddress.objects.update_or_create(user=user, defaults=values)


def stored_email(user: Any) -> str:
    """Return the spelling of a user's address that mails go to: the stored one, never one from a request."""
    address: EmailAddress | None = getattr(user, "authkit_email", None)
    if address is not None and has_address(user, address.canonical):
        return address.email
    return getattr(user, email_field()) or ""


def state_of(user: Any) -> str:
    """Return what of an account a mailed link must find unchanged, whoever changes it; secret, for a hash is in it."""
    return f"{user.password}\n{getattr(user, email_field()) or ''}"


def lock_username(name: str) -> None:
    """Let one registration with this name at a time go on, until the transaction ends; before any other lock.

    A unique constraint cannot do it: names of shadows stand in another table.
    """
    with connections[database()].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_NAME_LOCKS, name])


def lock_user(pk: Any) -> Any | None:
    """Lock a user's row until the transaction ends, and return it as it is now, with `authkit_email` loaded.

    It is the first lock of every transaction that changes more than one row of a user (then sessions, then the
    outbox).
    """
    return next(user_queries.locked(pk, alias=database()), None)


def may_authenticate(user: Any) -> bool:
    """Tell whether a user is active and, where backends have a say (`user_can_authenticate`), one of them agrees."""
    if not getattr(user, "is_active", True):
        return False
    asked = [backend for backend in get_backends() if hasattr(backend, "user_can_authenticate")]
    return not asked or any(backend.user_can_authenticate(user) for backend in asked)


def has_address(user: Any, canonical: str) -> bool:
    """Tell whether this is the address, in its canonical spelling, that the user's e-mail field has now."""
    email = getattr(user, email_field()) or ""
    try:
        return email == canonical or canonical_email(email) == canonical
    except InvalidEmailError:
        return False
