"""The host's users, seen from the kit: who holds an address, whether it is proved, and the lock of a user's row."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib.auth import get_backends, get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections
from django.db.models import F, FileField, Manager, QuerySet
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models.compiled_query import (
    CompiledQuery,
    Part,
    Placeholder,
    cached_unless_filtered,
    prepared,
    where,
    where_ignoring_case,
)
from ninja_auth_kit.models.email_addresses import EmailAddress, InvalidEmailError, canonical_email, readable_email

# The first half of the advisory locks' keys; the second is the name. Any constant that is ours alone.
_NAME_LOCKS = 0x4E414B32


def set_address(user: Any, address: Any) -> None:
    """Let a user have the address that was read beside it, or None; one without a key is that of an outer join."""
    relation: Any = type(user)._meta.get_field("authkit_email")
    relation.set_cached_value(user, address if address is not None and address.pk is not None else None)


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
        users = model._default_manager.using(accounts_database()).select_related("authkit_email")
        return users.filter(**{model.USERNAME_FIELD: model.normalize_username(username)}).first()
    except (ValueError, ValidationError):  # nothing that the field can have
        return None


def user_by_pk(key: Any) -> Any | None:
    """Return the user with this primary key, with `authkit_email` loaded, or None."""
    return next(_by_key_rows(key, alias=accounts_database()), None)


def find_holders(email: str) -> list[Any]:
    """Return all who have this address, even those whom the default manager hides: it is not free while they do.

    Raises:
        InvalidEmailError: `email` is no address.
    """
    return _holders(email, everybody=True)


def _holders(email: str, *, everybody: bool) -> list[Any]:
    canonical = canonical_email(email)
    found = _holder_rows(canonical, readable_email(canonical), alias=accounts_database(), everybody=everybody)
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


def mark_address_verified(user: Any, email: str) -> None:
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


def account_state(user: Any) -> str:
    """Return what of an account a mailed link must find unchanged, whoever changes it; secret, for a hash is in it."""
    return f"{user.password}\n{getattr(user, email_field()) or ''}"


def lock_username(name: str) -> None:
    """Let one registration with this name at a time go on, until the transaction ends; before any other lock.

    A unique constraint cannot do it: names of shadows stand in another table.
    """
    with connections[accounts_database()].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_NAME_LOCKS, name])


def lock_user(pk: Any) -> Any | None:
    """Lock a user's row until the transaction ends, and return it as it is now, with `authkit_email` loaded.

    It is the first lock of every transaction that changes more than one row of a user (then sessions, then the
    outbox).
    """
    return next(_locked_rows(pk, alias=accounts_database()), None)


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


_CANONICAL = "place@place.invalid"  # what a filter of the ORM takes for an address
_SPELLINGS = (Placeholder(), Placeholder())
_PK = Placeholder()


def _by_key_rows(key: Any, *, alias: str) -> Iterator[Any]:
    """Yield the user with this primary key, of those whom the default manager shows."""
    return _users(_by_key(alias), _prepared("pk", key, alias))


def _locked_rows(key: Any, *, alias: str) -> Iterator[Any]:
    """Lock the row of a user until the transaction ends, and yield the user as it is now.

    The address is read behind the lock: of a join PostgreSQL would read again only the row that it had to wait for,
    and the address would be that of before.
    """
    value = _prepared("pk", key, alias)
    for (user,) in _locked(alias).fetch(value):
        set_address(user, next((address for (address,) in _address(alias).fetch(value)), None))
        yield user


def _holder_rows(canonical: str, readable: str, *, alias: str, everybody: bool = False) -> Iterator[Any]:
    """Yield the users for whom an address is noted, and those who have it in their e-mail field, in any case.

    Both by an index: that on the users' table, see `user_ties`, is for this query alone.

    Args:
        canonical: the address as it is noted.
        readable: the same, with the domain as people read it.
        alias: the database.
        everybody: whether those count, too, whom the default manager hides.
    """
    field = get_user_model().get_email_field_name()
    query = (_all_holders if everybody else _shown_holders)(alias, field)
    return _users(query, canonical, *(_prepared(field, one, alias) for one in (canonical, readable)))


def _users(query: CompiledQuery, *values: Any) -> Iterator[Any]:
    for user, address in query.fetch(*values):
        set_address(user, address)
        yield user


def _prepared(field: str, value: Any, alias: str) -> Any:
    return prepared(get_user_model(), field, value, connections[alias])


def _parts() -> list[Part]:
    return [Part(get_user_model()), Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__")]


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _by_key(alias: str) -> CompiledQuery:
    rows = get_user_model()._default_manager.using(alias).order_by()
    return CompiledQuery(where(rows, "pk", _PK), *_parts(), places=[_PK])


@cached_unless_filtered(lambda: get_user_model()._base_manager)
def _locked(alias: str) -> CompiledQuery:
    """Through the base manager: a host's default one may aggregate, and a grouped row cannot be locked."""
    ops = connections[alias].ops
    meta = get_user_model()._meta
    tables = [meta.db_table, *(parent._meta.db_table for parent, link in meta.parents.items() if link is not None)]
    # NO KEY: inserting rows of the host that point at the user need not wait.
    ending = ops.for_update_sql(of=[_unqualified(ops.quote_name(table)) for table in tables], no_key=True)
    rows = get_user_model()._base_manager.using(alias).order_by()
    return CompiledQuery(where(rows, "pk", _PK), Part(get_user_model()), places=[_PK], ending=ending)


def _unqualified(table: str) -> str:
    """Return the quoted name of a table without the schema, as the lock must name it."""
    return table[table.rfind('."') + 1 :]


@cache
def _address(alias: str) -> CompiledQuery:
    model = apps.get_model("ninja_auth_kit", "EmailAddress")
    rows = model._default_manager.using(alias).order_by()
    return CompiledQuery(where(rows, "user", _PK), Part(model), places=[_PK])


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _shown_holders(alias: str, field: str) -> CompiledQuery:
    return _holders_among(get_user_model()._default_manager, alias, field)


@cached_unless_filtered(lambda: get_user_model()._base_manager)
def _all_holders(alias: str, field: str) -> CompiledQuery:
    return _holders_among(get_user_model()._base_manager, alias, field)


def _holders_among(users: Manager[Any], alias: str, field: str) -> CompiledQuery:
    def rows() -> QuerySet[Any]:
        return users.using(alias).order_by()

    noted = rows().filter(authkit_email__canonical=_CANONICAL)
    others = where_ignoring_case(rows(), field, *_SPELLINGS).exclude(authkit_email__canonical=_CANONICAL)
    columns = [column for part in _parts() for column in part.columns]
    both = noted.values_list(*columns).union(others.values_list(*columns), all=True)
    return CompiledQuery(both, *_parts(), places=[_CANONICAL, *_SPELLINGS])


# Set by the kit or by Django, or the key to rights (mass assignment: ASVS 15.3.3).
_RESERVED = frozenset(
    "password is_active is_staff is_superuser groups user_permissions last_login date_joined".split()  # noqa: SIM905
)


def settable_field(name: str) -> Any:
    """Return the field of the user model with this name, if a schema of the host may set it.

    Raises:
        ValueError: it may not; the text says why.
    """
    model = get_user_model()
    reserved = _RESERVED | {email_field(), model.USERNAME_FIELD}
    try:
        field: Any = None if name in reserved else model._meta.get_field(name)
    except FieldDoesNotExist:
        raise ValueError(f"{model.__name__} has no field {name!r}") from None
    if field is None or field.name in reserved or getattr(field, "primary_key", False):
        raise ValueError(f"{name!r} is set by the kit or by administrators alone")
    if not (getattr(field, "concrete", False) and field.editable) or isinstance(field, FileField):
        raise ValueError(f"{name!r} is no editable column that JSON could fill")
    return field


def user_models() -> tuple[type[Any], ...]:
    """Return the user model and the models that it inherits columns from."""
    model = get_user_model()
    return (model, *model._meta.all_parents)


def is_unique(field: Any) -> bool:
    """Tell whether the database refuses a second user with the same value, alone or together with other fields."""
    return field.unique or any(
        field.name in names for model in user_models() for names in _unique_together(model._meta)
    )


def _unique_together(options: Any) -> Iterator[set[str]]:
    yield from map(set, options.unique_together)
    for constraint in options.constraints:
        # Of unique constraints and of exclusion constraints, whose expressions are pairs.
        expressions = [one[0] if isinstance(one, tuple) else one for one in getattr(constraint, "expressions", ())]
        yield {*getattr(constraint, "fields", ()), *(name for one in expressions for name in _names(one))}


def _names(expression: Any) -> Iterator[str]:
    parts = expression.flatten() if hasattr(expression, "flatten") else [expression]
    for part in parts:
        if isinstance(part, F | str):
            yield str(getattr(part, "name", part)).partition("__")[0]
