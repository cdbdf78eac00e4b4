"""The checks of the broker. No message shows a value, because one of them is a password."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.settings import are_valid
from ninja_auth_kit.conf import BROKER_SETTINGS, TLS_SETTINGS, Broker, broker, settings, tls_files
from ninja_auth_kit.tls import TLS, TLSFileError


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is this machine (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@register(Tags.compatibility)
def check_broker(**_: Any) -> list[CheckMessage]:
    """E008: without this check, an invalid value would fail in the relay, far from its cause."""
    return [
        *(
            error("E008", f"{name} must be {BROKER_SETTINGS[name].rule.text}.", "Correct the value, or remove it.")
            for name in _invalid()
        ),
        *_missing_password(),
    ]


def _missing_password() -> Iterator[CheckMessage]:
    host, user, password = (
        getattr(django_settings, f"RABBITMQ_{name}", None) for name in ("HOST", "USER", "PASSWORD")
    )
    if host and user not in (None, "", "guest") and password in (None, ""):
        yield error(
            "E008",
            "RABBITMQ_USER is set, and RABBITMQ_PASSWORD is empty.",
            "Set RABBITMQ_PASSWORD. If you read it from the environment, check that the variable is set. "
            "The default would be 'guest'.",
        )


def _invalid() -> list[str]:
    """Return the names of invalid settings. An empty value is not configured, as in `conf.broker`."""
    values = {name: getattr(django_settings, name, None) for name in BROKER_SETTINGS}
    return [
        name
        for name, value in values.items()
        if value not in (None, "") and not BROKER_SETTINGS[name].rule.allows(value)
    ]


@register(Tags.compatibility)
def check_tls_files(**_: Any) -> list[CheckMessage]:
    """E015: without this check, a wrong file would only be a line in the log of the relay, while events wait.

    No message shows a path: the setting may hold the text of a key by mistake.
    """
    files, address = tls_files(), None if _invalid() else broker()
    if not files or address is None:
        return []
    if address.tls is None:
        name = TLS_SETTINGS[next(iter(files))]
        hint = "Set RABBITMQ_TLS = True. Without it, the connection is not encrypted, and no file is used."
        return [error("E015", f"{name} is set, and RABBITMQ_TLS is not True.", hint)]
    try:
        TLS(**files).context()
    except TLSFileError as failure:
        words = " ".join(TLS_SETTINGS.get(word, word) for word in failure.cause.split(" "))
        hint = (
            "Name PEM files that this process may read, and a private key that belongs to the certificate. Where the "
            "relay does not run, the settings may be left out."
        )
        return [error("E015", f"{TLS_SETTINGS[failure.name]} {words}.", hint)]
    return []


@register(Tags.security, deploy=True)
def check_audit(**_: Any) -> list[CheckMessage]:
    """W001: a project that relies on the audit stream must not learn too late that there was none."""
    if getattr(django_settings, "RABBITMQ_HOST", None):
        return []
    hint = "Set RABBITMQ_HOST, or collect the logger 'ninja_auth_kit.audit' and silence this warning."
    return [warning("W001", "No broker is configured: audit events are only logged.", hint)]


@register(Tags.security, deploy=True)
def check_transport(**_: Any) -> list[CheckMessage]:
    """W012 and W013: a connection that others can read, and a password that everyone knows.

    Warnings, although ASVS 13.2.3 asks to refuse to start: both are common in networks of containers, RabbitMQ accepts
    `guest` from its own machine only, and an audit stream must not keep users from logging in.
    """
    address = None if _invalid() else broker()
    if address is None or all(is_loopback(host) for host, _ in address.addresses):
        return []
    return [*_unencrypted(address), *_guest(address)]


def _unencrypted(address: Broker) -> Iterator[CheckMessage]:
    if address.tls is None:
        yield warning(
            "W012",
            "The broker is on another machine, and the connection does not use TLS.",
            "Set RABBITMQ_TLS = True. The port is then 5671 unless RABBITMQ_PORT is set. Without TLS, the password "
            "and every event can be read on the network. Silence this warning if nothing else is on that network.",
        )


def _guest(address: Broker) -> Iterator[CheckMessage]:
    if address.user == "guest":
        yield warning(
            "W013",
            "The broker is on another machine, and the user is guest.",
            "Create a user (rabbitmqctl add_user, set_permissions), and set RABBITMQ_USER and RABBITMQ_PASSWORD. "
            "The password of guest is public, and RabbitMQ accepts guest from its own machine only.",
        )


@register(Tags.security, deploy=True)
def check_relay(**_: Any) -> list[CheckMessage]:
    """W014: a thread that ends with its web process is not a reliable relay."""
    if not are_valid() or not settings.AUDIT_EMBEDDED_RELAY or not getattr(django_settings, "RABBITMQ_HOST", None):
        return []
    hint = (
        "Set NINJA_AUTH_KIT['AUDIT_EMBEDDED_RELAY'] = False and run `manage.py authkit_relay` as a service. The "
        "thread of a web process starts with the first request, can be stopped in the middle of a batch, and uses one "
        "database connection per process."
    )
    return [warning("W014", "Web processes publish the audit events themselves.", hint)]
