"""The checks of the broker. No message shows a value, for one of them is a password."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.hosts import is_loopback
from ninja_auth_kit.checks.kit import is_sound
from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.rules import Rule, is_integer, is_text
from ninja_auth_kit.conf import Broker, broker, settings


def _is_host(value: Any) -> bool:
    hosts = value.split(",") if isinstance(value, str) else value
    if not isinstance(hosts, list | tuple):
        return False
    return all(isinstance(host, str) and _is_one_host(host.strip()) for host in hosts)


def _is_one_host(host: str) -> bool:
    """Tell whether a text is a name or an address, no URL and without a port; an IPv6 address has more colons."""
    return is_text(host) and not set("/@[]") & set(host) and host.count(":") != 1


def _is_port(value: Any) -> bool:
    is_decimal = isinstance(value, str) and value.isdecimal() and len(value) <= 5
    return is_integer(int(value) if is_decimal else value, 1, 65_535)


_STRING: Rule = (lambda value: isinstance(value, str), "a string, or left out for the default")

RULES: dict[str, Rule] = {
    "RABBITMQ_HOST": (
        _is_host,
        "a host name or address, or several with commas between, no URL, and no port (RABBITMQ_PORT); or left out",
    ),
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
    return [
        *(
            error("E008", f"{name} has a value that does not fit.", f"It must be {RULES[name][1]}.")
            for name in _misfits()
        ),
        *_no_password(),
    ]


def _no_password() -> Iterator[CheckMessage]:
    host, user, password = (
        getattr(django_settings, f"RABBITMQ_{name}", None) for name in ("HOST", "USER", "PASSWORD")
    )
    if host and user not in (None, "", "guest") and password in (None, ""):
        yield error(
            "E008",
            "RABBITMQ_USER names a user, and RABBITMQ_PASSWORD is empty.",
            "Set RABBITMQ_PASSWORD, or look why it is not in the environment: the default would be 'guest'.",
        )


def _misfits() -> list[str]:
    values = {name: getattr(django_settings, name, None) for name in RULES}
    return [
        name
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


@register(Tags.security, deploy=True)
def check_transport(**_: Any) -> list[CheckMessage]:
    """W012 and W013: what a network can read, and what everybody knows.

    Warnings, not a refusal to start as ASVS 13.2.3 would have it: in a network of containers both are common, RabbitMQ
    itself lets `guest` in from its own machine only, and an audit stream must not keep people from logging in.
    """
    address = None if _misfits() else broker()
    if address is None or all(map(is_loopback, address.hosts)):
        return []
    return [*_plain(address), *_guest(address)]


def _plain(address: Broker) -> Iterator[CheckMessage]:
    if not address.tls:
        yield warning(
            "W012",
            "The broker is on another machine, and reached without TLS.",
            "Set RABBITMQ_TLS = True (the port is then 5671 unless RABBITMQ_PORT says otherwise). Its password and "
            "every event can be read on the way. Silence this where the network is yours alone.",
        )


def _guest(address: Broker) -> Iterator[CheckMessage]:
    if address.user == "guest":
        yield warning(
            "W013",
            "The broker is on another machine, and the user is guest.",
            "Make a user (rabbitmqctl add_user, set_permissions) and set RABBITMQ_USER and RABBITMQ_PASSWORD. "
            "Everybody knows the password of guest, and RabbitMQ lets it in from its own machine only.",
        )


@register(Tags.security, deploy=True)
def check_relay(**_: Any) -> list[CheckMessage]:
    """W014: a thread that dies with its web process is no relay to rely on."""
    if not is_sound() or not settings.AUDIT_EMBEDDED_RELAY or not getattr(django_settings, "RABBITMQ_HOST", None):
        return []
    hint = (
        "Set NINJA_AUTH_KIT['AUDIT_EMBEDDED_RELAY'] = False and run `manage.py authkit_relay` as a service. A thread "
        "of a web process begins with its first request, ends in the middle of a batch, and takes a connection each."
    )
    return [warning("W014", "Web processes publish the audit events themselves.", hint)]
