"""Reading settings."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import Settings

from ninja_auth_kit.conf import Broker, BrokerAddress, broker
from ninja_auth_kit.conf import settings as kit_settings
from ninja_auth_kit.tls import TLS

pytestmark = pytest.mark.one_user_model


def test_a_value_is_read_when_it_is_used(kit: Callable[..., None]) -> None:
    assert kit_settings.ISSUER == "ninja-auth-kit"

    kit(ISSUER="https://auth.example.com")

    assert kit_settings.ISSUER == "https://auth.example.com"
    with override_settings(NINJA_AUTH_KIT={}):
        assert kit_settings.ISSUER == "ninja-auth-kit"


def test_seconds_and_timedeltas_are_the_same(kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_LIFETIME=90)
    assert timedelta(seconds=90) == kit_settings.ACCESS_TOKEN_LIFETIME

    kit(ACCESS_TOKEN_LIFETIME=timedelta(seconds=90))
    assert timedelta(seconds=90) == kit_settings.ACCESS_TOKEN_LIFETIME


def test_an_unknown_setting_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NONSENSE"):
        kit_settings.NONSENSE  # noqa: B018


def test_a_host_without_the_dict_gets_the_defaults(settings: Settings) -> None:
    del settings.NINJA_AUTH_KIT

    assert kit_settings.SESSION_LIMIT == 1


def test_the_embedded_relay_follows_debug_unless_it_is_set(kit: Callable[..., None], settings: Settings) -> None:
    assert kit_settings.AUDIT_EMBEDDED_RELAY is False
    settings.DEBUG = True
    assert kit_settings.AUDIT_EMBEDDED_RELAY is True
    kit(AUDIT_EMBEDDED_RELAY=False)
    assert kit_settings.AUDIT_EMBEDDED_RELAY is False


def test_the_broker_is_none_without_a_host_and_has_defaults_with_one(settings: Settings) -> None:
    assert broker() is None

    settings.RABBITMQ_HOST = "broker.example.com"

    assert broker() == Broker(
        addresses=(BrokerAddress("broker.example.com", 5672),),
        user="guest",
        password="guest",
        vhost="/",
        tls=None,
    )
    settings.RABBITMQ_TLS = True
    assert broker().addresses == (BrokerAddress("broker.example.com", 5671),)
    assert broker().tls == TLS()


def test_hosts_may_have_ports_of_their_own(settings: Settings) -> None:
    settings.RABBITMQ_HOST = "one.example, two.example:5673, ::1, [::1]:5674, [fe80::1%eth0], 192.0.2.1:5675"

    assert [str(address) for address in broker().addresses] == [
        "one.example:5672",
        "two.example:5673",
        "[::1]:5672",
        "[::1]:5674",
        "[fe80::1%eth0]:5672",
        "192.0.2.1:5675",
    ]
    settings.RABBITMQ_PORT = "5680"
    assert [address.port for address in broker().addresses] == [5680, 5673, 5680, 5674, 5680, 5675]


def test_neither_the_password_of_the_broker_nor_that_of_the_key_is_in_a_repr(settings: Settings) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS, settings.RABBITMQ_PASSWORD = "one.example", True, "c4n4ry"
    settings.RABBITMQ_TLS_CERTFILE, settings.RABBITMQ_TLS_KEY_PASSWORD = "client.pem", "c4n4ry"

    assert "client.pem" in repr(broker())
    assert "c4n4ry" not in repr(broker())


@pytest.mark.parametrize("named", ["a.example, b.example,", ["a.example", " b.example"], ("a.example", "b.example")])
def test_the_broker_may_have_several_hosts(settings: Settings, named: Any) -> None:
    settings.RABBITMQ_HOST = named

    configured = broker()

    assert configured is not None
    assert [address.host for address in configured.addresses] == ["a.example", "b.example"]
