"""`check --deploy`: every unsafe setting has a check with an id and a hint; safe ones have none."""

import warnings
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.contrib.auth import get_user_model, hashers
from django.db import connection
from django.test import override_settings
from pytest_django import Settings

from ninja_auth_kit import checks
from ninja_auth_kit.conf import DEFAULT_THROTTLES
from tests.test_checks import ids, ours

pytestmark = pytest.mark.one_user_model

BACKENDS = "django.core.mail.backends"


def set_mail_backend(settings: Settings, backend: str, *, timeout: float | None = 10) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = {
            "default": {"BACKEND": backend, "OPTIONS": {} if timeout is None else {"timeout": timeout}}
        }
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = backend, timeout


@pytest.fixture(autouse=True)
def deployment(settings: Settings, kit: Callable[..., None]) -> None:
    """Configure a safe deployment. Each test changes one setting."""
    kit(BASE_URL="https://example.com", FRONTEND_URLS={"verify_email": "https://app.example.com/verify"})
    kit(THROTTLES=DEFAULT_THROTTLES)
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS = "broker.example.com", True
    settings.RABBITMQ_USER, settings.RABBITMQ_PASSWORD = "kit", "p5s8v2y7b4e1h6k9"
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 15}}
    ]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    set_mail_backend(settings, f"{BACKENDS}.smtp.EmailBackend")


def warned(number: str) -> tuple[str, str]:
    """Return the message and the hint of the only warning."""
    (message,) = ours(deploy=True)
    assert message.id == f"ninja_auth_kit.{number}"
    assert not message.is_serious()
    return message.msg, str(message.hint)


def test_a_good_deployment_hears_nothing() -> None:
    assert ids(deploy=True) == []


class ReadsElsewhere:
    """A database router that sends reads of the users to a replica."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "replica" if model._meta.app_label == get_user_model()._meta.app_label else None


@pytest.mark.security("CFG-05")
def test_several_servers_must_be_asked_which_of_them_is_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "db1.example.com,db2.example.com")
    message, hint = warned("W026")
    assert "DATABASES['default']['HOST'] names several servers" in message
    assert "'target_session_attrs'] to 'read-write'" in hint

    for wanted in ("any", "prefer-standby", "standby", "read-only"):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"target_session_attrs": wanted})
        warned("W026")
    for wanted in ("read-write", "primary"):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"target_session_attrs": wanted})
        assert ids(deploy=True) == []


@pytest.mark.security("CFG-05")
def test_a_router_that_reads_the_users_from_a_replica_is_named(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]

    message, hint = warned("W026")

    assert "send reads of User to 'replica', and writes to 'default'" in message
    assert "Let db_for_read() of your database router return 'default'" in hint


def test_what_is_a_matter_of_deployment_is_not_said_on_a_laptop(kit: Callable[..., None], settings: Settings) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = []
    settings.RABBITMQ_TLS = False
    kit(BASE_URL="http://127.0.0.1:8000", EMAIL_VERIFICATION_REQUIRED=False)

    assert ids() == []
    assert set(ids(deploy=True)) == {"W010", "W012", "W015", "W020"}


def test_without_a_broker_a_deployment_is_warned(settings: Settings) -> None:
    settings.RABBITMQ_HOST = None

    assert "ninja_auth_kit.audit" in warned("W001")[1]


@pytest.mark.security("CFG-03")
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://localhost:8000",
        "https://127.0.0.1",
        "http://[::1]:8000",
        "https://app.LOCALHOST",
    ],
)
def test_links_that_others_can_read_or_cannot_follow_are_named(kit: Callable[..., None], url: str) -> None:
    kit(BASE_URL=url)
    assert "https://example.com" in warned("W010")[1]

    kit(BASE_URL="https://example.com", FRONTEND_URLS={"reset_password": url})
    assert "FRONTEND_URLS'" in warned("W011")[1]
    assert "'reset_password'" in warned("W011")[0]


def test_the_address_that_debug_makes_up_is_none_for_a_deployment(
    kit: Callable[..., None], settings: Settings
) -> None:
    kit(BASE_URL=None, AUDIT_EMBEDDED_RELAY=False)
    settings.DEBUG = True

    warned("W010")


@pytest.mark.security("AUD-12", "CFG-03")
def test_a_broker_in_plain_text_on_another_machine_is_named(settings: Settings) -> None:
    settings.RABBITMQ_TLS = False

    assert "RABBITMQ_TLS = True" in warned("W012")[1]


@pytest.mark.security("AUD-12")
@pytest.mark.parametrize("user", ["guest", "", None])
def test_the_guest_of_a_broker_on_another_machine_is_named(settings: Settings, user: str | None) -> None:
    settings.RABBITMQ_USER = user

    assert "RABBITMQ_USER and RABBITMQ_PASSWORD" in warned("W013")[1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_broker_on_this_machine_may_be_plain_and_its_user_guest(settings: Settings, host: str) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS, settings.RABBITMQ_USER = host, False, None

    assert ids(deploy=True) == []


def test_no_warning_of_the_broker_shows_the_password(settings: Settings) -> None:
    settings.RABBITMQ_TLS, settings.RABBITMQ_USER, settings.RABBITMQ_PASSWORD = False, "guest", "c4n4ry"

    assert ids(deploy=True) == ["W012", "W013"]
    assert "c4n4ry" not in str(ours(deploy=True))


def test_a_relay_in_web_processes_is_named(kit: Callable[..., None], settings: Settings) -> None:
    kit(AUDIT_EMBEDDED_RELAY=True)
    assert "authkit_relay" in warned("W014")[1]

    kit(AUDIT_EMBEDDED_RELAY=None)
    settings.DEBUG = True  # AUDIT_EMBEDDED_RELAY follows DEBUG
    warned("W014")


def test_no_password_rules_of_the_host_are_named_with_what_then_holds(settings: Settings) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = []

    assert "the kit requires 15 characters" in warned("W015")[1]


class Pbkdf2(hashers.PBKDF2PasswordHasher):
    iterations = 599_999


class Pbkdf2Enough(hashers.PBKDF2PasswordHasher):
    iterations = 600_000


class Pbkdf2Sha1(hashers.PBKDF2SHA1PasswordHasher):
    iterations = 1_299_999


class Argon2(hashers.Argon2PasswordHasher):
    time_cost, memory_cost = 2, 19_455


class Argon2Enough(hashers.Argon2PasswordHasher):
    time_cost, memory_cost = 7, 12_288


class ScryptEnough(hashers.ScryptPasswordHasher):
    work_factor, parallelism = 2**17, 1


class ScryptInSmallBlocks(ScryptEnough):
    block_size = 4


class Bcrypt(hashers.BCryptSHA256PasswordHasher):
    rounds = 9


class Sha1(hashers.BasePasswordHasher):
    algorithm = "sha1"


class Own(hashers.BasePasswordHasher):
    algorithm = "of the host's own making"


DJANGO = "django.contrib.auth.hashers."


@pytest.mark.security("CRED-15", "CFG-05")
@pytest.mark.parametrize(
    "hasher",
    [
        DJANGO + "MD5PasswordHasher",
        DJANGO + "ScryptPasswordHasher",  # Django's default N is 2^14
        *(f"{__name__}.{kind.__name__}" for kind in (Pbkdf2, Pbkdf2Sha1, Argon2, ScryptInSmallBlocks, Bcrypt, Sha1)),
    ],
)
def test_a_hash_that_is_cheap_to_guess_is_named(settings: Settings, hasher: str) -> None:
    settings.PASSWORD_HASHERS = [hasher, DJANGO + "PBKDF2PasswordHasher"]

    message, hint = warned("W016")

    assert hasher.rpartition(".")[2] in message
    assert "'django.contrib.auth.hashers.Argon2PasswordHasher' first" in hint


@pytest.mark.parametrize(
    "hasher",
    [
        *(DJANGO + name for name in ("Argon2PasswordHasher", "BCryptSHA256PasswordHasher", "PBKDF2PasswordHasher")),
        *(f"{__name__}.{kind.__name__}" for kind in (Pbkdf2Enough, Argon2Enough, ScryptEnough, Own)),
    ],
)
def test_a_costly_hash_is_fine_and_cheap_ones_may_stand_below_it(settings: Settings, hasher: str) -> None:
    settings.PASSWORD_HASHERS = [hasher, DJANGO + "MD5PasswordHasher"]

    assert ids(deploy=True) == []


def test_no_hash_at_all_is_named(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = []

    assert "no hasher is first" in warned("W016")[0]


@pytest.mark.parametrize("hashers", [["no.such.Hasher"], ["builtins.dict"], 7])
def test_a_hasher_that_cannot_be_loaded_is_named_with_the_cause(settings: Settings, hashers: Any) -> None:
    settings.PASSWORD_HASHERS = hashers

    message, hint = warned("W016")

    assert message.startswith("Passwords cannot be hashed: ")
    assert "Error: " in message
    assert "PASSWORD_HASHERS" in hint


@pytest.mark.parametrize("mailers", [[], "default", {"default": []}])
def test_mailers_of_a_wrong_type_are_none(settings: Settings, monkeypatch: pytest.MonkeyPatch, mailers: Any) -> None:
    monkeypatch.setattr(checks.deploy, "django_settings", SimpleNamespace(MAILERS=mailers))

    (message,) = checks.deploy.check_email_backend()

    assert message.msg == "Emails do not leave this machine: there is no default mailer."


@pytest.mark.security("CFG-05")
def test_a_transaction_around_every_request_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    assert "DATABASES['default']['ATOMIC_REQUESTS'] = False" in warned("W017")[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")),
        ("USE_X_FORWARDED_HOST", True),
        ("USE_X_FORWARDED_PORT", True),
    ],
)
def test_a_proxy_that_the_kit_does_not_know_of_is_named(
    settings: Settings, kit: Callable[..., None], name: str, value: Any
) -> None:
    setattr(settings, name, value)
    message, hint = warned("W018")
    assert name in message
    assert "['TRUSTED_PROXY_COUNT']" in hint

    kit(TRUSTED_PROXY_COUNT=1)
    assert ids(deploy=True) == []


@pytest.mark.security("CFG-03")
@pytest.mark.parametrize("kind", ["console", "dummy", "filebased", "locmem"])
def test_mails_that_go_nowhere_are_named(settings: Settings, kind: str) -> None:
    set_mail_backend(settings, f"{BACKENDS}.{kind}.EmailBackend")

    message, hint = warned("W019")

    assert kind in message
    # The hint is code that the running Django accepts, and that is enough.
    has_mailers = hasattr(settings, "MAILERS")
    names = {"MAILERS": dict(settings.MAILERS)} if has_mailers else {}
    changed = hint.removeprefix("Set ").split(", with the name")[0].split(" and ")
    exec("\n".join(changed), {}, names)  # noqa: S102
    assert ("MAILERS" in hint, "EMAIL_" in hint) == (has_mailers, not has_mailers)
    with override_settings(**names):
        assert ids(deploy=True) == []


@pytest.mark.parametrize(("timeout", "cause"), [(None, "no timeout"), (300, "300 seconds"), (60.5, "60.5 seconds")])
def test_a_mail_server_that_may_be_waited_for_too_long_is_named(
    settings: Settings, timeout: float | None, cause: str
) -> None:
    set_mail_backend(settings, f"{BACKENDS}.smtp.EmailBackend", timeout=timeout)

    message, hint = warned("W028")

    assert cause in message
    has_mailers = hasattr(settings, "MAILERS")  # Django 6.1 does not start with settings of both kinds
    assert ("'timeout': 10" in hint, "EMAIL_TIMEOUT = 10" in hint) == (has_mailers, not has_mailers)


def test_a_backend_of_a_mail_service_is_fine(settings: Settings) -> None:
    set_mail_backend(settings, "anymail.backends.postmark.EmailBackend", timeout=None)

    assert ids(deploy=True) == []


@pytest.mark.skipif(django.VERSION < (6, 1), reason="before Django 6.1, an email backend is always configured")
def test_no_default_mailer_is_named_and_one_without_a_backend_is_smtp(settings: Settings) -> None:
    settings.MAILERS = {}
    assert "no default mailer" in warned("W019")[0]

    settings.MAILERS = {"default": {"OPTIONS": {"host": "mail.example.com", "timeout": 5}}}
    assert ids(deploy=True) == []


# This test sets it on purpose.
@pytest.mark.filterwarnings("ignore:The EMAIL_BACKEND setting is deprecated")
def test_a_host_that_has_not_moved_to_mailers_is_heard_too_and_not_warned_twice(settings: Settings) -> None:
    if hasattr(settings, "MAILERS"):
        del settings.MAILERS
    settings.EMAIL_BACKEND = f"{BACKENDS}.console.EmailBackend"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (message,) = checks.deploy.check_email_backend()
    assert "console" in message.msg

    settings.EMAIL_BACKEND = f"{BACKENDS}.smtp.EmailBackend"
    assert checks.deploy.check_email_backend() == []


def test_addresses_that_nobody_proves_are_named_where_people_register(kit: Callable[..., None]) -> None:
    kit(EMAIL_VERIFICATION_REQUIRED=False)
    warned("W020")

    kit(EMAIL_VERIFICATION_REQUIRED=False, REGISTRATION_OPEN=False)
    assert ids(deploy=True) == []


def test_a_click_that_is_enough_is_named(kit: Callable[..., None]) -> None:
    kit(EMAIL_VERIFICATION_REQUIRES_PASSWORD=False)

    warned("W021")


@pytest.mark.parametrize(
    "backend",
    [
        "django_auth_ldap.backend.LDAPBackend",
        "mozilla_django_oidc.auth.OIDCAuthenticationBackend",
        "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend",
    ],
)
def test_a_reset_that_gives_users_of_a_directory_a_password_is_named(
    kit: Callable[..., None], settings: Settings, backend: str
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", backend]
    message, hint = warned("W025")
    assert backend in message
    assert "USERS_SET_FIRST_PASSWORD" in hint

    kit(USERS_SET_FIRST_PASSWORD=False)
    assert ids(deploy=True) == []


@pytest.mark.security("CFG-05")
def test_a_session_of_more_than_a_month_is_named(kit: Callable[..., None]) -> None:
    kit(SESSION_LIFETIME=timedelta(days=30, seconds=1))
    assert "timedelta(days=30)" in warned("W022")[1]

    kit(SESSION_LIFETIME=timedelta(days=30), REFRESH_TOKEN_LIFETIME=timedelta(days=30))
    assert ids(deploy=True) == []


@pytest.mark.parametrize(
    ("use_tz", "zone", "numbers"),
    [
        (False, "Europe/Berlin", ["W023"]),
        (False, "America/Chicago", ["W023"]),
        (False, "UTC", []),
        (False, "Asia/Tokyo", []),
        (True, "Europe/Berlin", []),
    ],
)
def test_local_times_whose_clocks_change_are_named(
    settings: Settings, use_tz: bool, zone: str, numbers: list[str]
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone

    assert ids(deploy=True) == numbers


def test_an_asgi_project_is_told_how_not_to_open_a_connection_for_each_request(settings: Settings) -> None:
    settings.ASGI_APPLICATION = "mysite.asgi.application"

    message, hint = warned("W034")

    assert "'default' opens a connection" in message
    assert "psycopg[pool]" in hint


def test_an_asgi_project_with_a_pool_hears_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ASGI_APPLICATION = "mysite.asgi.application"
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": True})

    assert ids(deploy=True) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SESSION_LIFETIME", "a month"),
        ("FRONTEND_URLS", ["https://example.com"]),
        ("BASE_URL", 7),
        ("TRUSTED_PROXY_COUNT", None),
        ("SESSION_LIFETYME", 1),
    ],
)
def test_a_mistake_is_an_error_and_breaks_no_check_of_the_deployment(
    kit: Callable[..., None], name: str, value: Any
) -> None:
    kit(**{name: value})

    assert {number[0] for number in ids(deploy=True)} == {"E"}


@pytest.mark.parametrize(("name", "value"), [("RABBITMQ_HOST", 7), ("RABBITMQ_PORT", "amqp"), ("RABBITMQ_TLS", "no")])
def test_a_mistake_in_the_broker_s_settings_breaks_none_either(settings: Settings, name: str, value: Any) -> None:
    setattr(settings, name, value)

    assert ids(deploy=True) == ["E008"]


def test_settings_that_are_no_dict_break_none_either(settings: Settings) -> None:
    settings.NINJA_AUTH_KIT = []

    assert "E001" in ids(deploy=True)


@pytest.mark.security("BF-12")
@pytest.mark.parametrize("missing", [["login_account"], ["mail_network", "mail_recipient"], list(DEFAULT_THROTTLES)])
def test_limits_that_are_off_are_named(kit: Callable[..., None], missing: list[str]) -> None:
    kit(THROTTLES={rule: rates for rule, rates in DEFAULT_THROTTLES.items() if rule not in missing})

    message, hint = warned("W024")
    assert ", ".join(missing) in message
    assert "DEFAULT_THROTTLES" in hint
