"""The checks of the broker. No message shows a value, for one of them is a password."""

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.rules import Rule, is_integer, is_text


def _is_host(value: Any) -> bool:
    return is_text(value) and not {"/", "@"} & set(value)


def _is_port(value: Any) -> bool:
    is_decimal = isinstance(value, str) and value.isdecimal() and len(value) <= 5
    return is_integer(int(value) if is_decimal else value, 1, 65_535)


_STRING: Rule = (lambda value: isinstance(value, str), "a string, or left out for the default")

RULES: dict[str, Rule] = {
    "RABBITMQ_HOST": (_is_host, "a host name or an address and no URL, or left out for no broker"),
    "RABBITMQ_PORT": (_is_port, "a port such as 5672, or left out for the default"),
    "RABBITMQ_USER": _STRING,
    "RABBITMQ_PASSWORD": _STRING,
    "RABBITMQ_VHOST": _STRING,
    # Not whatever is true: the string "false" would be, and a variable of the environment is a string.
    "RABBITMQ_TLS": (lambda value: isinstance(value, bool), "True or False, not a string"),
}


@register(Tags.compatibility)
def check_broker(**_: Any) -> list[CheckMessage]:
    """E008: a value that does not fit would fail in the relay, far from its cause."""
    values = {name: getattr(django_settings, name, None) for name in RULES}
    return [
        error("E008", f"{name} has a value that does not fit.", f"It must be {RULES[name][1]}.")
        for name, value in values.items()
        if value not in (None, "") and not RULES[name][0](value)  # empty is left out, as `conf.broker` has it
    ]


@register(Tags.security, deploy=True)
def check_audit(**_: Any) -> list[CheckMessage]:
    """W001: who wants the audit stream should not find out afterwards that there was none."""
    if getattr(django_settings, "RABBITMQ_HOST", None):
        return []
    hint = "Set RABBITMQ_HOST, or collect the logger 'ninja_auth_kit.audit' and silence this warning."
    return [warning("W001", "There is no broker: audit events are only logged.", hint)]
