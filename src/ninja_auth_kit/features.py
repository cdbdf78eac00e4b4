"""The registry of features: what an app of `ninja_auth_kit.contrib` adds to the kit when it is installed.

Each app registers one `Feature` when it is ready. The kit asks this registry and never imports `contrib`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from ninja_auth_kit.setting_rules import Setting

# Takes the locked user and the proof, and as keywords the client and the token of a remembered device. Returns the
# proof to go on with, or a `PendingLogin`. See `services.internal.finish_login`.
Gate = Callable[..., Any]


class Prunable(NamedTuple):
    """Rows that may be deleted: those of a model in which an indexed time field is before a moment."""

    model: type[Model]
    field: str
    before: datetime


class Rewrapped(NamedTuple):
    """What a table has to do with a former root secret.

    Attributes:
        rows: what the rows are, in the plural.
        done: how many were sealed again under the current root secret.
        remaining: how many still depend on a former one, because only their use can renew them.
    """

    rows: str
    done: int
    remaining: int


class Revocable(NamedTuple):
    """Credentials beside sessions, which `authkit_revoke` revokes as well.

    Attributes:
        row: what one of them is called, such as "API key".
        holders: returns the primary keys of the users who have one.
        revoke: revokes those of a user in a transaction of its own, and returns their number. It takes `user_id` and
            `reason`, the word in the audit events.
    """

    row: str
    holders: Callable[[], "QuerySet[Any]"]
    revoke: Callable[..., int]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What one app adds.

    Attributes:
        name: the label of the app.
        router: the dotted path of its Ninja router. It is imported with the URLconf.
        settings: the rows of its dict in `NINJA_AUTH_KIT`, by key.
        settings_key: the key of that dict, such as "TOTP".
        throttles: its rate limits, by name. They apply unless `THROTTLES` names them.
        owned_models: its models whose rows the database deletes with a row of another table, such as that of the
            users, each with the field that refers to it.
        prunable: takes the current time and how long rows are kept, and returns the rows that may be deleted.
        gates: asked in each login, when the user is locked and before a session is started.
        has_second_factor: returns whether a user has a confirmed second factor.
        has_way_in: returns whether a user can log in by what this app has of the user, without a password.
        step_up_methods: returns how a user without a second factor can make a step-up beside the password.
        rewrap: seals the rows of former root secrets again, in batches, and returns what it did, by table.
        locked_out: returns the primary keys of users, a query for each table, whose rows are sealed under a root
            secret that is listed no more, so that no use of them can succeed.
        forget_devices: forgets the devices on which a user needs no second factor. It takes the user's primary key, or
            None for all users, and is called when the password or the address changes, or an operator ends sessions.
        rebind_to_new_hash: takes a locked user `before` and `after` the password got another hash, and keeps what is
            bound to the password.
        revocable: the credentials that `authkit_revoke` revokes together with the sessions.
        senders: the dotted path of the module that sends its promised emails.
        needs_localhost: whether browsers allow it on http://localhost and not on http://127.0.0.1, so that links must
            have the former during development.
        adapt_operation: the dotted path of a function that takes each operation of the kit's router, when the routes
            are built, and may decorate it.
    """

    name: str
    router: str | None = None
    settings_key: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    throttles: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    owned_models: tuple[tuple[str, str], ...] = ()
    prunable: Callable[..., list[Prunable]] | None = None
    gates: tuple[Gate, ...] = ()
    has_second_factor: Callable[[Any], bool] | None = None
    has_way_in: Callable[[Any], bool] | None = None
    step_up_methods: Callable[[Any], tuple[str, ...]] | None = None
    rewrap: Callable[[], list[Rewrapped]] | None = None
    locked_out: Callable[[], "list[QuerySet[Any]]"] | None = None
    forget_devices: Callable[[Any | None], None] | None = None
    rebind_to_new_hash: Callable[..., None] | None = None
    revocable: Revocable | None = None
    senders: str | None = None
    needs_localhost: bool = False
    adapt_operation: str | None = None


_features: dict[str, Feature] = {}


def register(feature: Feature) -> None:
    """Add a feature. An app calls this when it is ready."""
    _features[feature.name] = feature


def features() -> tuple[Feature, ...]:
    """Return the features of the installed apps, in the order of INSTALLED_APPS."""
    return tuple(_features.values())


def is_installed(name: str) -> bool:
    """Return whether an app has registered its feature.

    Args:
        name: the label of the app, such as "ninja_auth_kit_factors".
    """
    return name in _features


def gates() -> tuple[Gate, ...]:
    """Return the gates of all features."""
    return tuple(gate for feature in _features.values() for gate in feature.gates) if _features else ()


def has_second_factor(user: Any) -> bool:
    """Return whether a user has a confirmed second factor; without features, without a query."""
    return any(feature.has_second_factor(user) for feature in _features.values() if feature.has_second_factor)


def has_way_in(user: Any, *, apart_from: str = "") -> bool:
    """Return whether a user can log in without a password.

    Args:
        user: the user. Lock it, if one of the ways is about to be removed.
        apart_from: the label of an app that is not asked.
    """
    asked = [one.has_way_in for one in _features.values() if one.has_way_in and one.name != apart_from]
    return any(has_way_in(user) for has_way_in in asked)


def step_up_methods(user: Any) -> tuple[str, ...]:
    """Return how a user without a second factor can make a step-up, beside the password."""
    asked = [one.step_up_methods for one in _features.values() if one.step_up_methods]
    return tuple(method for methods in asked for method in methods(user))


def need_localhost() -> bool:
    """Return whether a feature needs http://localhost during development."""
    return any(feature.needs_localhost for feature in _features.values())


def throttles() -> dict[str, str | Sequence[str]]:
    """Return the rate limits of all features, by name."""
    return {name: rates for feature in _features.values() for name, rates in feature.throttles.items()}


def import_senders() -> None:
    """Import the modules that send the promised emails of features."""
    for feature in _features.values():
        if feature.senders:
            import_module(feature.senders)


def forget_devices(user_id: Any | None) -> None:
    """Forget the devices on which a user needs no second factor; None for all users."""
    for feature in _features.values():
        if feature.forget_devices:
            feature.forget_devices(user_id)


def rebind_to_new_hash(*, before: Any, after: Any) -> None:
    """Keep what features have bound to the password of a user, which has another hash and is the same."""
    for feature in _features.values():
        if feature.rebind_to_new_hash:
            feature.rebind_to_new_hash(before=before, after=after)


def rewrap() -> list[Rewrapped]:
    """Seal the rows of all features again under the current root secret."""
    return [found for feature in _features.values() if feature.rewrap for found in feature.rewrap()]


def locked_out() -> "list[QuerySet[Any]]":
    """Return the primary keys of users who depend on a root secret that is listed no more: a query for each table."""
    return [found for feature in _features.values() if feature.locked_out for found in feature.locked_out()]


def revocables() -> list[Revocable]:
    """Return the credentials of all features that `authkit_revoke` revokes together with the sessions."""
    return [feature.revocable for feature in _features.values() if feature.revocable]


def can_rewrap() -> bool:
    """Return whether a feature has rows that are sealed under a root secret."""
    return any(feature.rewrap for feature in _features.values())


def routers() -> list[Any]:
    """Return the Ninja routers of all features."""
    return [import_string(feature.router) for feature in _features.values() if feature.router]


def adapt_operation(operation: Any) -> None:
    """Let every feature decorate an operation of the kit's router.

    Args:
        operation: a Ninja operation that is not bound to an API yet.
    """
    for feature in _features.values():
        if feature.adapt_operation:
            import_string(feature.adapt_operation)(operation)
