"""The checks of NINJA_AUTH_KIT: its keys and values, the objects that it names, and the URLs of the kit."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, get_resolver, reverse

from ninja_auth_kit import emails, features
from ninja_auth_kit.audit.events import all_events
from ninja_auth_kit.checks.messages import did_you_mean, error, warning
from ninja_auth_kit.conf import (
    DEFAULT_THROTTLES,
    SETTINGS,
    forced_path,
    imported_callable,
    nested_settings,
    settings,
)
from ninja_auth_kit.setting_rules import BOOLEAN, Fault, Setting, is_dotted_path, is_no_rate, is_rate, spoken

_DOTTED_PATHS = (
    "REGISTRATION_SCHEMA",
    "PROFILE_SCHEMA",
    "USER_SCHEMA",
    "ACCESS_TOKEN_CLAIMS",
    "CREATE_USER",
    "DOCS_DECORATOR",
    "CONNECTION_STATE",
    "TENANT_SETTINGS",
)
_LONGEST_UNCHECKED_LIFETIME = timedelta(minutes=15)
_SECRETS = {"JWT_SECRET_KEY", "SIGNING_KEYS"}  # their values are never shown, whatever they are


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001 to E004 and W003: the dict, its keys and its values."""
    configured = getattr(django_settings, "NINJA_AUTH_KIT", {})
    if not isinstance(configured, dict):
        return [error("E001", "NINJA_AUTH_KIT is not a dict.", "Set it to a dict of the kit's settings.")]
    return faults(configured) or [*_unknown_events(), *_contradictions()]


def are_valid() -> bool:
    """Return whether every key and value is valid, so that other checks can use the values."""
    configured = getattr(django_settings, "NINJA_AUTH_KIT", {})
    return isinstance(configured, dict) and not faults(configured) and fault_of_tenant_settings() is None


def fault_of_tenant_settings() -> str | None:
    """Return what is wrong with `TENANT_SETTINGS` for a connection without a tenant, or None."""
    try:
        _ = settings.BASE_URL
    except ImproperlyConfigured as fault:
        return str(fault)
    except Exception as fault:  # of a function of the project
        return (
            "The function that NINJA_AUTH_KIT['TENANT_SETTINGS'] names failed for a connection without a tenant "
            f"({type(fault).__name__})."
        )
    return None


def faults(configured: dict[str, Any]) -> list[CheckMessage]:
    """Return the errors of unknown keys and invalid values."""
    return [*_unknown_keys(configured), *_invalid_values(configured), *_invalid_nested_values(configured)]


def _unknown_keys(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    nested = nested_settings()
    for key in configured:
        if key not in SETTINGS and key not in nested:
            yield error("E002", f"NINJA_AUTH_KIT has no key {key!r}.", did_you_mean(key, [*SETTINGS, *nested]))
    for key in nested:
        if isinstance(configured.get(key), dict):
            for name in configured[key]:
                if name not in nested[key]:
                    message = f"NINJA_AUTH_KIT[{key!r}] has no key {name!r}."
                    yield error("E002", message, did_you_mean(name, nested[key]))


def _invalid_values(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, setting in SETTINGS.items():
        if key not in configured or setting.rule.allows(configured[key]):
            continue
        if key == "THROTTLES" and isinstance(configured[key], dict):
            yield from _invalid_limits(configured[key])
            continue
        got = "" if key in _SECRETS else _got(setting, configured[key])
        message = f"NINJA_AUTH_KIT[{key!r}] must be {setting.rule.text}{got}."
        yield error("E003", message, f"Correct the value, or remove the key; the default is {_default(key)}.")


def _invalid_nested_values(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, rows in nested_settings().items():
        found = configured.get(key, {})
        if not isinstance(found, dict):
            message = f"NINJA_AUTH_KIT[{key!r}] must be a dict{_got(Setting({}, BOOLEAN, '', ''), found)}."
            yield error("E003", message, f"Its keys are {', '.join(rows)}. Without it, the defaults apply.")
            continue
        for name, row in rows.items():
            if name not in found or row.rule.allows(found[name]):
                continue
            inner = list(row.faults(found[name])) if row.faults else []
            yield from _faults_inside(f"NINJA_AUTH_KIT[{key!r}][{name!r}]", inner)
            if not inner:
                message = f"NINJA_AUTH_KIT[{key!r}][{name!r}] must be {row.rule.text}{_got(row, found[name])}."
                default = spoken(row.default) if isinstance(row.default, timedelta) else repr(row.default)
                yield error("E003", message, f"Correct the value, or remove the key; the default is {default}.")


def _faults_inside(setting: str, inner: Iterable[Fault]) -> Iterator[CheckMessage]:
    for fault in inner:
        hint = did_you_mean(fault.word, fault.known) if fault.known else fault.hint
        yield error("E003", f"{setting}{fault.where} {fault.text}.", hint)


def _got(setting: Setting, value: Any) -> str:
    """Return " (got ...)": a number, a duration, True, False or None, and only the type of any other value.

    A string may hold a password, such as a URL with credentials, and the output of checks is kept in the logs of
    builds. It is not mentioned where a string is expected, because the type says nothing there.
    """
    if isinstance(value, str) and isinstance(setting.default, str | None):
        return ""
    if isinstance(value, timedelta):
        return f" (got {value})"
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**18):
        return f" (got {value!r})"
    return f" (got a value of the type {type(value).__name__})"


def _default(key: str) -> str:
    default = SETTINGS[key].default
    if key == "JWT_SECRET_KEY":
        return "the plain setting JWT_SECRET_KEY"
    if isinstance(default, timedelta):
        return spoken(default)
    return "DEFAULT_THROTTLES" if default is DEFAULT_THROTTLES else repr(default)


def _invalid_limits(limits: dict[Any, Any]) -> Iterator[CheckMessage]:
    for name, rates in limits.items():
        known = [*DEFAULT_THROTTLES, *features.throttles()]
        if name not in known:
            message = f"NINJA_AUTH_KIT['THROTTLES'] has no rate limit {name!r}."
            yield error("E003", message, did_you_mean(name, known))
        elif not is_rate(rates) and not is_no_rate(rates):
            is_text = isinstance(rates, str) or (
                isinstance(rates, list | tuple) and all(isinstance(rate, str) for rate in rates)
            )
            shown = f" (got {rates!r})" if is_text else ""
            message = f"NINJA_AUTH_KIT['THROTTLES'][{name!r}] is not a valid rate{shown}."
            yield error("E003", message, "Use a rate such as '20/m', or several, such as ('10/15m', '100/30d').")


def _unknown_events() -> Iterator[CheckMessage]:
    known = {name for event in all_events() for name in (event.name, event.type)}
    for name in settings.AUDIT_DISABLED_TYPES:
        if name not in known:
            message = f"NINJA_AUTH_KIT['AUDIT_DISABLED_TYPES'] has an unknown event, {name!r}."
            yield error("E003", message, did_you_mean(name, known))


def _contradictions() -> Iterator[CheckMessage]:
    if settings.ACCESS_TOKEN_LIFETIME >= settings.REFRESH_TOKEN_LIFETIME:
        yield error(
            "E004",
            "ACCESS_TOKEN_LIFETIME must be shorter than REFRESH_TOKEN_LIFETIME.",
            "Shorten ACCESS_TOKEN_LIFETIME: refresh tokens exist so that access tokens can expire after minutes. The "
            "default is 5 minutes.",
        )
    if settings.REFRESH_TOKEN_LIFETIME > settings.SESSION_LIFETIME:
        yield error(
            "E004",
            "REFRESH_TOKEN_LIFETIME must not be longer than SESSION_LIFETIME.",
            "Shorten REFRESH_TOKEN_LIFETIME, the idle limit of a session, or extend SESSION_LIFETIME, its absolute "
            "limit.",
        )
    if settings.ACCESS_TOKEN_LIFETIME > _LONGEST_UNCHECKED_LIFETIME:
        yield warning(
            "W003",
            "ACCESS_TOKEN_LIFETIME is longer than 15 minutes.",
            "Set it to 15 minutes or less. JWTAuth() checks the session on each request, but a service that verifies "
            "by signature alone accepts the token of an ended session until the token expires. So does "
            "JWTAuth(check_session=False).",
        )


@register(Tags.urls)
def check_base_url(**_: Any) -> list[CheckMessage]:
    """E007 and W027: links in emails are never built from the Host header of a request."""
    if fault_of_tenant_settings() is not None:  # E003 or E011 reports it
        return []
    if settings.BASE_URL is not None:
        return [*_other_path(settings.BASE_URL)] if are_valid() else []
    hint = "Set NINJA_AUTH_KIT['BASE_URL'] to the scheme and host of your site, such as 'https://example.com'."
    return [error("E007", "NINJA_AUTH_KIT['BASE_URL'] is required if DEBUG is off.", hint)]


def _other_path(base_url: str) -> Iterator[CheckMessage]:
    forced = forced_path()
    if forced and urlsplit(base_url).path != forced:
        yield warning(
            "W027",
            "The path of NINJA_AUTH_KIT['BASE_URL'] is not FORCE_SCRIPT_NAME.",
            f"Remove the path from BASE_URL, so that links get {forced!r}. If a proxy maps one path to the other, add "
            "'ninja_auth_kit.W027' to SILENCED_SYSTEM_CHECKS.",
        )


@register(Tags.urls)
def check_mount(**_: Any) -> list[CheckMessage]:
    """W004: without this check, a missing line in the URLconf shows as 404 only."""
    if not getattr(django_settings, "ROOT_URLCONF", None) or _is_mounted():
        return []
    hint = (
        'Add this line to the urlpatterns of your URLconf: path("api/auth/", include("ninja_auth_kit.urls")). '
        "Or install the kit on an existing NinjaAPI: ninja_auth_kit.install(api). If the line exists, "
        "remove the namespace around it and parameters such as <str:tenant> before it."
    )
    return [warning("W004", f"The URLs of the kit cannot be reversed in {django_settings.ROOT_URLCONF}.", hint)]


def _is_mounted() -> bool:
    _ = get_resolver().url_patterns  # importing the URLconf registers the namespaces of the APIs
    return any(_can_be_reversed(namespace) for namespace in (emails.OWN_NAMESPACE, *emails.page_namespaces))


def _can_be_reversed(namespace: str) -> bool:
    try:
        reverse(f"{namespace}:auth_login")
    except NoReverseMatch:
        return False
    return True


@register(Tags.security)
def check_dotted_paths(**_: Any) -> list[CheckMessage]:
    """E011 and E012: the objects that settings name by a dotted path."""
    return [
        message
        for name in _DOTTED_PATHS
        if is_dotted_path(getattr(settings, name))
        for message in _faults_of_object(name)
    ]


def _faults_of_object(name: str) -> Iterator[CheckMessage]:
    # Imported late, because Ninja reads its settings when it is imported.
    from ninja_auth_kit.api.custom_schemas import CALLABLE_HINTS, FIELDS_HINT, HINTS, custom_schema, faults

    try:
        if name in CALLABLE_HINTS:
            imported_callable(name)
            if name == "TENANT_SETTINGS" and (fault := fault_of_tenant_settings()):
                raise ImproperlyConfigured(fault)
            return
        schema = custom_schema(name)
    except ImproperlyConfigured as failure:
        yield error("E011", str(failure), {**HINTS, **CALLABLE_HINTS}[name])
        return
    for fault in faults(name, schema):
        yield error("E012", fault, FIELDS_HINT)


def fields_of_registration() -> set[str]:
    """Return the fields of the user model that `REGISTRATION_SCHEMA` fills."""
    from ninja_auth_kit.api.custom_schemas import custom_schema

    try:
        schema = custom_schema("REGISTRATION_SCHEMA")
    except ImproperlyConfigured:  # E011 reports it
        return set()
    fields = {} if schema is None else schema.model_fields
    return {name for name, field in fields.items() if field.is_required() or field.default is not None}
