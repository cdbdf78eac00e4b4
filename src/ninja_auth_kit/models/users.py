"""The users of your project: their fields and email addresses, look-ups and locks.

Every function works with any user model. It reads the model's own names: `EMAIL_FIELD`,
`USERNAME_FIELD` and the default manager.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any

from django.contrib.auth import get_backends, get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections
from django.db.models import FileField, Manager, Q, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Upper
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models.compiled_query import (
    CompiledQuery,
    ModelColumns,
    Placeholder,
    cached_unless_filtered,
    fetch_in_turn,
)
from ninja_auth_kit.models.email_addresses import EmailAddress, InvalidEmailError, canonical_email, readable_email

# Set by this app or by Django, or a source of permissions (mass assignment: ASVS 15.3.3).
_RESERVED_FIELDS = frozenset(
    "password is_active is_staff is_superuser groups user_permissions last_login date_joined".split()  # noqa: SIM905
)


# The fields of the user model


def email_field() -> str:
    """Return the name of the user model's email field."""
    return get_user_model().get_email_field_name()


def has_username() -> bool:
    """Return whether users have a name as well: `USERNAME_FIELD` is not the email field."""
    return email_field() != get_user_model().USERNAME_FIELD


def settable_field(name: str) -> Any:
    """Return the field of the user model with this name, if a schema of your project may set it.

    Raises:
        ValueError: a schema may not set it; the text says why.
    """
    model = get_user_model()
    reserved = _RESERVED_FIELDS | {email_field(), model.USERNAME_FIELD}
    try:
        field: Any = None if name in reserved else model._meta.get_field(name)
    except FieldDoesNotExist:
        raise ValueError(f"{model.__name__} has no field {name!r}") from None
    if field is None or field.name in reserved or getattr(field, "primary_key", False):
        raise ValueError(f"{name!r} can only be set by ninja_auth_kit or by an administrator")
    if not (getattr(field, "concrete", False) and field.editable) or isinstance(field, FileField):
        raise ValueError(f"{name!r} is not an editable column that can be set from JSON")
    return field


def replaceable_fields() -> list[Any]:
    """Return the fields of the user model that a new registration of a pending address replaces.

    These are all that `CREATE_USER` may set.
    """
    model = get_user_model()
    apart = _RESERVED_FIELDS | {email_field(), model.USERNAME_FIELD}
    parent_links = set(model._meta.parents.values())
    return [
        field
        for field in model._meta.concrete_fields
        if field.name not in apart
        and field not in parent_links
        and not (field.primary_key or field.generated or getattr(field, "auto_now_add", False))
    ]


# One user: the email address and the state of the account


def set_address(user: Any, address: EmailAddress | None) -> None:
    """Set `user.authkit_email` to an address that was read with the user, or to None.

    An address without a primary key comes from an outer join that found no row; it counts as None.
    """
    relation: Any = get_user_model()._meta.get_field("authkit_email")
    relation.set_cached_value(user, address if address is not None and address.pk is not None else None)


def has_address(user: Any, canonical: str) -> bool:
    """Return whether the user's email field has this address now.

    Args:
        user: the user.
        canonical: the address in its canonical spelling.
    """
    email = getattr(user, email_field()) or ""
    try:
        return email == canonical or canonical_email(email) == canonical
    except InvalidEmailError:
        return False


def is_verified(user: Any) -> bool:
    """Return whether the address that the user has now is the one that was verified."""
    address: EmailAddress | None = getattr(user, "authkit_email", None)
    return address is not None and address.verified_at is not None and has_address(user, address.canonical)


def stored_email(user: Any) -> str:
    """Return the spelling of a user's address that emails are sent to.

    It is the stored spelling, never one from a request.
    """
    address: EmailAddress | None = getattr(user, "authkit_email", None)
    if address is not None and has_address(user, address.canonical):
        return address.email
    return getattr(user, email_field()) or ""


def is_pending(user: Any) -> bool:
    """Return whether a user is only a registration that was never verified, and so may be replaced.

    Users who were in your project before this app have no `EmailAddress` and are never replaced.
    Neither is a user who ever logged in, was given rights or was disabled.
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


def may_authenticate(user: Any) -> bool:
    """Return whether a user may log in.

    The user must be active. If any authentication backend has a `user_can_authenticate`, one of
    them must agree.
    """
    if not getattr(user, "is_active", True):
        return False
    asked = [backend for backend in get_backends() if hasattr(backend, "user_can_authenticate")]
    return not asked or any(backend.user_can_authenticate(user) for backend in asked)


def may_reset_password(user: Any) -> bool:
    """Return whether a user may set a password with an emailed link: a new one, or the first."""
    return may_authenticate(user) and may_set_password(user)


def may_set_password(user: Any) -> bool:
    """Return whether a user may set a new password: one without a password only if the settings allow a first one."""
    return bool(user.has_usable_password() or settings.USERS_SET_FIRST_PASSWORD)


def password_context(user: Any) -> dict[str, bool]:
    """Return what an email must know about the password of its recipient.

    No email tells a user to log in with a password that the account does not have.
    """
    return {"lacks_password": not user.has_usable_password(), "may_set_password": may_reset_password(user)}


def account_state(user: Any) -> str:
    """Return the state of an account that must be the same when the link in an email is used.

    Any change invalidates the link. The state is secret, because it contains the password hash.
    """
    return f"{user.password}\n{getattr(user, email_field()) or ''}"


# Look-ups


def user_by_pk(key: Any) -> Any | None:
    """Return the user with this primary key, with `authkit_email` loaded, or None."""
    return next(_users(_user_query(accounts_database()), pk=key), None)


def find_user_by_name(username: str) -> Any | None:
    """Return the user with this `USERNAME_FIELD`, with `authkit_email` loaded, or None."""
    model = get_user_model()
    try:
        users = model._default_manager.using(accounts_database()).select_related("authkit_email")
        return users.filter(**{model.USERNAME_FIELD: model.normalize_username(username)}).first()
    except (ValueError, ValidationError):  # not a value that the field can have
        return None


def find_user(email: str) -> Any | None:
    """Return the user who holds an address, with `authkit_email` loaded, or None.

    Users without an `EmailAddress`, such as those from before this app was installed, are found by
    their email field. Both ways are one statement, so the look-up takes as long for an unknown
    address. If several users share an address and none of them has verified it, none of them holds
    it.

    Raises:
        InvalidEmailError: `email` is not a valid address.
    """
    found = _holders(email, _shown_holders_query)
    verified = [user for user in found if is_verified(user)]
    if verified:
        return verified[0]
    return found[0] if len(found) == 1 else None


def find_holders(email: str) -> list[Any]:
    """Return all users who have this address, including users whom the default manager hides.

    The address is not free as long as they have it.

    Raises:
        InvalidEmailError: `email` is not a valid address.
    """
    return _holders(email, _all_holders_query)


def find_holder(email: str) -> Any | None:
    """Return one of `find_holders`, or None.

    It is the user who has verified the address, if there is one. A pending registration is returned only if there is
    no other user. Of several others, it is the one with the lowest primary key, so that the answer does not depend on
    the plan of the query.
    """
    order = lambda user: (not is_verified(user), is_pending(user), user.pk)  # noqa: E731
    return min(find_holders(email), key=order, default=None)


def users_with_any(addresses: Iterable[str]) -> dict[str, list[Any]]:
    """Return the users whom the default manager shows and who have one of these addresses, by address.

    Only their keys and addresses are read. It is one statement, which uses the index of `user_constraints`.

    Args:
        addresses: the addresses in their canonical spelling.
    """
    canonical, field = frozenset(addresses), email_field()
    spellings = canonical | {readable_email(address) for address in canonical}
    users = get_user_model()._default_manager.using(accounts_database()).order_by()
    # In upper case by PostgreSQL, as the index: its rules and those of Python differ.
    in_upper_case = users.annotate(authkit_upper=Upper(Cast(field, TextField()))).only(field)
    wanted = RawSQL("SELECT UPPER(spelling) FROM unnest(%s::text[]) AS spelling", [list(spellings)])
    found: dict[str, list[Any]] = {}
    for user in in_upper_case.filter(authkit_upper__in=wanted):
        for address in _canonical_of(user) & canonical:
            found.setdefault(address, []).append(user)
    return found


def _canonical_of(user: Any) -> set[str]:
    try:
        return {canonical_email(getattr(user, email_field()) or "")}
    except InvalidEmailError:
        return set()


def _users(query: CompiledQuery, **values: Any) -> Iterator[Any]:
    for user, address in query.fetch(**values):
        set_address(user, address)
        yield user


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _user_query(alias: str) -> CompiledQuery:
    model = get_user_model()
    users = model._default_manager.using(alias).filter(pk=Placeholder("pk", model._meta.pk)).order_by()
    return CompiledQuery(users, ModelColumns(model), ModelColumns(EmailAddress, "authkit_email"))


def _holders(email: str, compile_query: Callable[[str, str], CompiledQuery]) -> list[Any]:
    canonical = canonical_email(email)
    query = compile_query(accounts_database(), email_field())
    found = _users(query, canonical=canonical, readable=readable_email(canonical))
    return [user for user in found if has_address(user, canonical)]


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _shown_holders_query(alias: str, field: str) -> CompiledQuery:
    return _holders_query(get_user_model()._default_manager, alias, field)


@cached_unless_filtered(lambda: get_user_model()._base_manager)
def _all_holders_query(alias: str, field: str) -> CompiledQuery:
    return _holders_query(get_user_model()._base_manager, alias, field)


def _holders_query(manager: Manager[Any], alias: str, field: str) -> CompiledQuery:
    """Find users by their `EmailAddress`, and by their email field in upper or lower case.

    Each half uses an index. The one on the table of the users is made for this query, see
    `user_constraints`.
    """
    model = get_user_model()
    email = model._meta.get_field(field)
    with_row = Q(authkit_email__canonical=Placeholder("canonical", EmailAddress._meta.get_field("canonical")))
    with_field = Q(**{f"{field}__iexact": Placeholder("canonical", email)}) | Q(
        **{f"{field}__iexact": Placeholder("readable", email)}  # with the domain as people read it
    )
    users = manager.using(alias).order_by()
    both = users.filter(with_row).union(users.filter(with_field).exclude(with_row), all=True)
    return CompiledQuery(both, ModelColumns(model), ModelColumns(EmailAddress, "authkit_email"))


# Locks. The order is: unique values (see `unique_values`), user, sessions, outbox.


def lock_user(pk: Any) -> Any | None:
    """Lock a user's row until the transaction ends, and return the user as it is now, or None.

    Every transaction that changes more than one row of a user acquires this lock first.

    `authkit_email` is loaded. The address is read after the row is locked. In a join, PostgreSQL
    would read again only the row that it had to wait for, and would return the address from before
    the wait.
    """
    user, _ = lock_user_and_read(pk)
    return user


def lock_user_and_read(
    pk: Any, *queries: CompiledQuery, **values: Any
) -> tuple[Any | None, list[Iterator[list[Any]]]]:
    """Lock a user's row as `lock_user` does, and run further queries in the same round trip, when the row is locked.

    Args:
        pk: the primary key.
        queries: the queries, of the accounts database.
        values: the values of their placeholders, by name.

    Returns:
        The user or None, and what each query yields.
    """
    alias = accounts_database()
    own = (_lock_query(alias), _address_query(alias))
    users, addresses, *found = fetch_in_turn(*own, *queries, pk=pk, user=pk, **values)
    for (user,) in users:
        set_address(user, next((address for (address,) in addresses), None))
        return user, found
    return None, found


def users_by_pk(keys: Collection[Any], *, lock: bool = False) -> list[Any]:
    """Return the users with these primary keys, in the order of the keys, with `authkit_email` loaded.

    Args:
        keys: the primary keys; those that do not exist are left out.
        lock: whether to lock the rows until the transaction ends. Callers that lock several users lock them in one
            order, so that two of them do not wait for each other.
    """
    users = get_user_model()._base_manager.using(accounts_database()).filter(pk__in=keys).order_by("pk")
    found = list(users.select_for_update(no_key=True) if lock else users)
    # The addresses are read after the users are locked: see `lock_user`.
    addresses = {address.user_id: address for address in EmailAddress.objects.filter(user__in=keys)}
    for user in found:
        set_address(user, addresses.get(user.pk))
    return found


@cached_unless_filtered(lambda: get_user_model()._base_manager)
def _lock_query(alias: str) -> CompiledQuery:
    # The base manager: a default manager may aggregate, and PostgreSQL cannot lock a grouped row.
    model, operations = get_user_model(), connections[alias].ops
    parents = [parent for parent, link in model._meta.parents.items() if link is not None]
    tables = [_without_schema(operations.quote_name(part._meta.db_table)) for part in (model, *parents)]
    # FOR NO KEY UPDATE does not block the insertion of rows with a foreign key to the user.
    lock = operations.for_update_sql(of=tables, no_key=True)
    users = model._base_manager.using(alias).filter(pk=Placeholder("pk", model._meta.pk)).order_by()
    return CompiledQuery(users, ModelColumns(model), suffix=lock)


def _without_schema(table: str) -> str:
    """Return the quoted name of a table without its schema, as FOR UPDATE OF expects it."""
    return table[table.rfind('."') + 1 :]


@cache
def _address_query(alias: str) -> CompiledQuery:
    user = Placeholder("user", EmailAddress._meta.get_field("user"))
    addresses = EmailAddress.objects.using(alias).filter(user=user).order_by()
    return CompiledQuery(addresses, ModelColumns(EmailAddress))


# Changes of the verified address


def mark_address_verified(user: Any, email: str) -> None:
    """Record that a user has verified an address.

    A former holder who has another address by now loses it.

    Args:
        user: the user; locked.
        email: the address, in the spelling that emails are sent to.

    Raises:
        InvalidEmailError: `email` is not a valid address.
        IntegrityError: another user has verified it.
    """
    release_address(email)
    values = {"email": email, "canonical": canonical_email(email), "verified_at": timezone.now()}
    EmailAddress.objects.update_or_create(user=user, defaults=values)


def release_address(email: str) -> bool:
    """Delete the `EmailAddress` of a former holder, and return whether there was one.

    A former holder is a user who has another address by now.

    Raises:
        InvalidEmailError: `email` is not a valid address.
    """
    address = EmailAddress.objects.select_related("user").filter(canonical=canonical_email(email)).first()
    if address is None or has_address(address.user, address.canonical):
        return False
    address.delete()
    return True
