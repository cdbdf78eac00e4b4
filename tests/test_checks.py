"""Every mistake in the settings has a check with a number and a hint, and good settings have none."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connection, models
from pytest_django import Settings

from ninja_auth_kit import checks
from ninja_auth_kit.conf import DEFAULTS, AuthKitSettings
from ninja_auth_kit.conf import settings as kit_settings

HOUR = timedelta(hours=1)


def ours(deploy: bool = False) -> list[CheckMessage]:
    messages = run_checks(include_deployment_checks=deploy, databases=["default"])
    return [message for message in messages if message.id and message.id.startswith("ninja_auth_kit.")]


def ids(deploy: bool = False) -> list[str]:
    return [str(message.id).removeprefix("ninja_auth_kit.") for message in ours(deploy)]


def test_good_settings_have_nothing_to_complain_about(settings: Settings) -> None:
    settings.RABBITMQ_HOST = "broker.example.com"

    assert ids(deploy=True) == []


def test_the_settings_must_be_a_dict(settings: Settings) -> None:
    settings.NINJA_AUTH_KIT = ["ISSUER"]

    assert "E001" in ids()


def test_an_unknown_key_gets_the_nearest_known_one(kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_LIFETYME=HOUR)

    (message,) = ours()

    assert message.id == "ninja_auth_kit.E002"
    assert "ACCESS_TOKEN_LIFETYME" in message.msg
    assert message.hint == "Did you mean 'ACCESS_TOKEN_LIFETIME'?"


def test_an_unknown_key_that_resembles_none_gets_the_list(kit: Callable[..., None]) -> None:
    kit(XYZZY=1)

    (message,) = ours()

    assert "ACCESS_TOKEN_LIFETIME" in str(message.hint)


WRONG: list[tuple[str, list[Any]]] = [
    ("JWT_ALGORITHM", ["none", "RS256", "hs256", None]),
    ("ISSUER", ["", "two words", None, 7]),
    ("AUDIENCE", ["", ["a", "b"]]),
    ("ACCESS_TOKEN_LIFETIME", [0, -5, "5 minutes", 5.5, True, timedelta(days=2)]),
    ("REFRESH_TOKEN_LIFETIME", [0, None, "x"]),
    ("SESSION_LIFETIME", [0, None, "x"]),
    ("REFRESH_GRACE_PERIOD", [-1, 61, timedelta(seconds=61), None]),
    ("SESSION_LIMIT", [0, -1, "1", True, 1.5]),
    ("SESSION_LIMIT_POLICY", ["newest", "", None]),
    ("REGISTRATION_OPEN", ["yes", 1, None]),
    ("EMAIL_VERIFICATION_REQUIRED", ["no", 0]),
    ("EMAIL_VERIFICATION_REQUIRES_PASSWORD", ["no", 0]),
    ("EMAIL_VERIFICATION_LIFETIME", [0, timedelta(days=8)]),
    ("BASE_URL", ["example.com", "ftp://example.com", "", 7, "https://"]),
    (
        "FRONTEND_URLS",
        [[], {"verify": "https://x.example"}, {"verify_email": "/relative"}, {"verify_email": "https://x/#a"}],
    ),
    ("TRUSTED_PROXY_COUNT", [-1, "1", None, True]),
    ("AUDIT_EXCHANGE", ["", None]),
    ("AUDIT_DECLARE", ["yes", None]),
    ("AUDIT_EMBEDDED_RELAY", ["yes", 1]),
    ("AUDIT_DISABLED_TYPES", ["session.refreshed", [1], None]),
    ("AUDIT_IP", ["hash", None]),
]


@pytest.mark.parametrize(("key", "values"), WRONG)
def test_a_value_that_does_not_fit_is_named_with_what_would(
    kit: Callable[..., None], key: str, values: list[Any]
) -> None:
    for value in values:
        kit(**{key: value})
        (message,) = [message for message in ours() if message.id == "ninja_auth_kit.E003"]
        assert key in message.msg
        assert str(message.hint).startswith("It must be ")


def test_every_key_has_a_rule_a_type_and_a_default_that_passes() -> None:
    assert set(checks.RULES) == set(DEFAULTS) == set(AuthKitSettings.__annotations__)
    assert {key for key, _ in WRONG} == set(DEFAULTS)
    for key, (fits, _) in checks.RULES.items():
        assert fits(DEFAULTS[key])  # type: ignore[literal-required]


@pytest.mark.parametrize(
    "lifetimes",
    [
        {"ACCESS_TOKEN_LIFETIME": 600, "REFRESH_TOKEN_LIFETIME": 600},
        {"ACCESS_TOKEN_LIFETIME": 60, "REFRESH_TOKEN_LIFETIME": 30},
        {"REFRESH_TOKEN_LIFETIME": timedelta(days=31)},
        {"SESSION_LIFETIME": HOUR},
    ],
)
def test_lifetimes_that_contradict_one_another_are_named(kit: Callable[..., None], lifetimes: dict[str, Any]) -> None:
    kit(**lifetimes)

    assert ids() == ["E004"]


def test_long_access_tokens_are_warned_of(kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_LIFETIME=HOUR)

    assert ids() == ["W003"]


def test_another_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")

    assert "E005" in [str(message.id)[-4:] for message in checks.check_database()]


class WithoutEmail(models.Model):
    """A user model with neither an address nor a password."""

    USERNAME_FIELD = "name"
    name = models.TextField()
    height = models.IntegerField()

    class Meta:
        app_label = "tests"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def get_email_field_name(cls) -> str:
        return "email"


def test_a_user_model_without_address_and_password_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "get_user_model", lambda: WithoutEmail)

    messages = checks.check_user_model()

    assert [str(message.id)[-4:] for message in messages] == ["E006", "E006", "W002"]
    assert "height" in messages[2].msg


def test_outside_debug_links_need_a_base_url(kit: Callable[..., None], settings: Settings) -> None:
    kit(BASE_URL=None)
    assert ids() == ["E007"]

    settings.DEBUG = True
    assert ids() == []
    assert kit_settings.BASE_URL == "http://127.0.0.1:8000"


@pytest.mark.parametrize("port", ["amqp", "0", 70_000, "5672x", -1])
def test_a_port_that_is_none_is_an_error(settings: Settings, port: Any) -> None:
    settings.RABBITMQ_PORT = port
    settings.RABBITMQ_HOST = "broker.example.com"

    assert ids() == ["E008"]


def test_without_a_broker_a_deployment_is_warned(settings: Settings) -> None:
    assert "W001" not in ids()
    assert ids(deploy=True) == ["W001"]


def test_every_number_is_given_once_and_stands_in_the_table() -> None:
    table = re.findall(r"^    ([EW]\d{3})  ", checks.__doc__ or "", re.MULTILINE)
    used = set(re.findall(r'"([EW]\d{3})"', Path(checks.__file__).read_text()))

    assert len(table) == len(set(table))
    assert set(table) == used
