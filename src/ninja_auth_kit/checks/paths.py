"""The checks of dotted paths: what the settings name can be imported, and lets in no field that it must not."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured

from ninja_auth_kit.checks.messages import error
from ninja_auth_kit.checks.rules import is_dotted_path
from ninja_auth_kit.conf import imported, settings

_SETTINGS = ("REGISTRATION_SCHEMA", "PROFILE_SCHEMA", "USER_SCHEMA", "ACCESS_TOKEN_CLAIMS")
_CLAIMS = "Write a function of user and session that returns a dict, and name it in full."


@register(Tags.security)
def check_paths(**_: Any) -> list[CheckMessage]:
    """E011 and E012."""
    return [
        message for setting in _SETTINGS if is_dotted_path(getattr(settings, setting)) for message in _faults(setting)
    ]


def filled_by_host() -> set[str]:
    """Return the fields of the user model that `REGISTRATION_SCHEMA` sees to."""
    from ninja_auth_kit.api.custom_schemas import host_schema

    try:
        schema = host_schema("REGISTRATION_SCHEMA")
    except ImproperlyConfigured:  # E011
        return set()
    fields = {} if schema is None else schema.model_fields
    return {name for name, field in fields.items() if field.is_required() or field.default is not None}


def _faults(setting: str) -> Iterator[CheckMessage]:
    from ninja_auth_kit.api.custom_schemas import FIELDS_HINT, HINTS, faults, host_schema

    try:
        if setting == "ACCESS_TOKEN_CLAIMS":
            if not callable(imported(setting)):
                raise ImproperlyConfigured("NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] names nothing that can be called.")
            return
        schema = host_schema(setting)
    except ImproperlyConfigured as failure:
        yield error("E011", str(failure), HINTS.get(setting, _CLAIMS))
        return
    for fault in faults(setting, schema):
        yield error("E012", fault, FIELDS_HINT)
