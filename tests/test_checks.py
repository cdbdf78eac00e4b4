"""Every mistake in the settings has a check with an id and a hint, and valid settings have none."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, models
from django.db.models.functions import Lower
from django.urls import set_script_prefix
from psycopg import IsolationLevel
from pytest_django import Settings

from ninja_auth_kit import checks, emails
from ninja_auth_kit.api.schemas import RegistrationIn
from ninja_auth_kit.audit.events import all_events
from ninja_auth_kit.conf import BROKER_SETTINGS, DEFAULTS, SETTINGS, AuthKitSettings
from ninja_auth_kit.conf import settings as kit_settings

pytestmark = pytest.mark.one_user_model

HOUR = timedelta(hours=1)
urlpatterns: list[Any] = []  # a URLconf without the kit


def ours(deploy: bool = False) -> list[CheckMessage]:
    """Return the kit's messages of `manage.py check` without the option `--database`."""
    messages = run_checks(include_deployment_checks=deploy)
    return [message for message in messages if message.id and message.id.startswith("ninja_auth_kit.")]


def ids(deploy: bool = False) -> list[str]:
    return [str(message.id).removeprefix("ninja_auth_kit.") for message in ours(deploy)]


def test_good_settings_have_nothing_to_complain_about() -> None:
    assert ids() == []


def test_the_settings_must_be_a_dict(settings: Settings) -> None:
    settings.NINJA_AUTH_KIT = ["ISSUER"]

    assert "E001" in ids()


def test_an_unknown_key_gets_the_nearest_known_one(kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_LIFETYME=HOUR)

    (message,) = ours()

    assert message.id == "ninja_auth_kit.E002"
    assert "ACCESS_TOKEN_LIFETYME" in message.msg
    assert message.hint == "Did you mean 'ACCESS_TOKEN_LIFETIME'?"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("session_limit", "SESSION_LIMIT"),
        ("Base_Url", "BASE_URL"),
        ("throttle", "THROTTLES"),
        ("AUDIT_ip", "AUDIT_IP"),
    ],
)
def test_the_suggested_key_does_not_depend_on_case(kit: Callable[..., None], typed: str, meant: str) -> None:
    kit(**{typed: 1})

    (message,) = ours()

    assert message.hint == f"Did you mean {meant!r}?"


def test_an_unknown_key_that_resembles_none_gets_the_list(kit: Callable[..., None]) -> None:
    kit(XYZZY=1)

    (message,) = ours()

    assert "ACCESS_TOKEN_LIFETIME" in str(message.hint)


NO_URLS: list[Any] = [
    "",
    7,
    "example.com",
    "ftp://example.com",
    "https://",
    "https://:443",
    "https://[::1",
    "https://example.com:port",
    "https://example.com:70000",
    "https://example.com/#a",
    "https://example.com/#",
    "https://user@example.com",
    "https://user:password@example.com",
    "https://@example.com",
    " https://example.com",
    "https://example.com/a b",
    "https://example.com\n",
    "\x00https://example.com",
]

KEY_ENTRY = {"alg": "HS256", "key": "x", "state": "verify-only"}
WRONG_OF_A_KEY: list[dict[str, Any]] = [
    {"alg": "none"},
    {"alg": []},
    {"key": b"x"},
    {"state": "on"},
    {"kid": 7},
    {"x": 1},
]

WRONG: list[tuple[str, list[Any]]] = [
    ("JWT_SECRET_KEY", [b"bytes", 7, ["a list"], {"HS256": "a dict"}]),
    ("JWT_ALGORITHM", ["none", "RS256", "hs256", None]),
    ("SIGNING_KEYS", [{}, "key", 7, [None], [{}], *([{**KEY_ENTRY, **wrong}] for wrong in WRONG_OF_A_KEY)]),
    ("ISSUER", ["", "two words", "a\x00b", None, 7]),
    ("AUDIENCE", ["", ["a", "b"]]),
    ("CLIENT_ID", ["", "two words", "a\nb", 7, ["web"]]),
    ("ACCESS_TOKEN_LIFETIME", [0, -5, "5 minutes", 5.5, True, timedelta(days=2)]),
    ("REFRESH_TOKEN_LIFETIME", [0, None, "x"]),
    ("SESSION_LIFETIME", [0, None, "x", 10**15, -(10**15), 10**400]),
    ("REFRESH_GRACE_PERIOD", [-1, 61, timedelta(seconds=61), timedelta(hours=3), "None", False, 1.5]),
    ("STEP_UP_MAX_AGE", [0, 59, None, "10 minutes", timedelta(days=2), True]),
    ("SESSION_LIMIT", [0, -1, 32_768, "1", True, 1.5]),
    ("SESSION_LIMIT_POLICY", ["newest", "", None]),
    ("REGISTRATION_OPEN", ["yes", 1, None]),
    ("UNVERIFIED_RETENTION", [0, "30 days", timedelta(days=6), timedelta(days=3651), True]),
    ("EMAIL_VERIFICATION_REQUIRED", ["no", 0]),
    ("EMAIL_VERIFICATION_REQUIRES_PASSWORD", ["no", 0]),
    ("USERS_SET_FIRST_PASSWORD", ["yes", 1, None]),
    ("EMAIL_VERIFICATION_LIFETIME", [0, timedelta(days=8)]),
    ("PASSWORD_RESET_LIFETIME", [0, 61 * 60, timedelta(minutes=61)]),
    ("BASE_URL", [*NO_URLS, "https://example.com?next=1", "https://example.com/?"]),
    ("SITE_NAME", ["", " ", "Shop ", "x" * 101, "a\nBcc: b@example.com", "a\u2028b", "a\x00", "\ud800", 7, b"Shop"]),
    (
        "FRONTEND_URLS",
        [
            [],
            {"verify": "https://x.example"},
            {"verify_email": "/relative"},
            *({"verify_email": url} for url in NO_URLS),
        ],
    ),
    ("TRUSTED_PROXY_COUNT", [-1, "1", None, True]),
    (
        "THROTTLES",
        [None, [], "20/m", {"login": "20/m"}, {"login_network": "20/min"}]
        + [{"login_network": rate} for rate in ("0/m", "-1/m", "20", "20/0m", "20/m ", 20, ["20/m", 5])],
    ),
    *(
        (key, ["", "Schema", "a..b", "a.b.", "a b.c", "a/b.c", 7, ["a.b"]])
        for key in (
            "REGISTRATION_SCHEMA",
            "PROFILE_SCHEMA",
            "USER_SCHEMA",
            "ACCESS_TOKEN_CLAIMS",
            "CREATE_USER",
            "DOCS_DECORATOR",
            "CONNECTION_STATE",
            "TENANT_SETTINGS",
        )
    ),
    ("AUDIT_EXCHANGE", ["", None, "amq.direct", "x" * 250, "ä" * 125]),
    ("AUDIT_DECLARE", ["yes", None]),
    ("AUDIT_EMBEDDED_RELAY", ["yes", 1]),
    ("AUDIT_LISTEN", ["yes", None]),
    ("AUDIT_DISABLED_TYPES", ["session.refreshed", [1], None]),
    ("AUDIT_IP", ["hash", None]),
    ("ASGI_CONNECTIONS", [-1, None, True, "8", 1.5, 1001]),
]


@pytest.mark.parametrize(("key", "values"), WRONG)
def test_a_value_that_does_not_fit_is_named_with_what_would(
    kit: Callable[..., None], key: str, values: list[Any]
) -> None:
    for value in values:
        kit(**{key: value})
        (message,) = [message for message in ours() if message.id == "ninja_auth_kit.E003"]
        assert key in message.msg
        assert " must be " in message.msg or "THROTTLES" in message.msg
        assert str(message.hint).startswith(("Correct the value", "Choose from ", "Did you mean ", "Use a rate "))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SESSION_LIMIT", 1),
        ("SESSION_LIMIT", 32_767),
        ("SESSION_LIMIT", None),
        ("REFRESH_GRACE_PERIOD", None),
        ("BASE_URL", "http://127.0.0.1:8000"),
        ("BASE_URL", "http://[::1]:8000"),
        ("BASE_URL", "https://example.com/"),
        ("BASE_URL", "https://example.com/below/@a/path"),
        ("FRONTEND_URLS", {"verify_email": "https://example.com/verify?from=mail&to=@me"}),
        ("SITE_NAME", None),
        ("SITE_NAME", "Bücher & <Söhne>, 书店"),
        ("SITE_NAME", "\u0645\u06cc\u200c\u062e\u0648"),  # Persian needs the zero-width non-joiner
        ("AUDIT_EXCHANGE", "x" * 249),
        ("THROTTLES", {"login_network": "20/m", "login_account": ["10/15m", "20/h"], "mail_owner": None}),
        ("AUDIT_DISABLED_TYPES", ["session.refreshed", "ninja-auth-kit.email.verified.v1"]),
        ("AUDIT_DISABLED_TYPES", {event.name for event in all_events()}),
    ],
)
def test_a_value_that_fits_is_not_complained_of(kit: Callable[..., None], key: str, value: Any) -> None:
    kit(**{key: value})

    assert ids() == []


def test_a_base_url_is_asked_for_in_words_that_allow_what_is_allowed(kit: Callable[..., None]) -> None:
    kit(BASE_URL="example.com")

    (message,) = [message for message in ours() if message.id == "ninja_auth_kit.E003"]

    wanted = SETTINGS["BASE_URL"].rule.text
    assert message.msg == f"NINJA_AUTH_KIT['BASE_URL'] must be {wanted}."


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("SESSION_LIMIT", 0, "(got 0)"),
        ("SESSION_LIMIT", "3", "(got a value of the type str)"),
        ("ACCESS_TOKEN_LIFETIME", timedelta(days=2), "(got 2 days, 0:00:00)"),
        pytest.param("ACCESS_TOKEN_LIFETIME", 10**5000, "(got a value of the type int)", id="huge"),
        ("AUDIT_DECLARE", None, "(got None)"),
    ],
)
def test_a_number_or_a_duration_that_is_not_allowed_is_shown(
    kit: Callable[..., None], key: str, value: Any, shown: str
) -> None:
    kit(**{key: value})

    (message,) = [message for message in ours() if message.id == "ninja_auth_kit.E003"]

    assert shown in message.msg


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BASE_URL", "https://admin:c4n4ry@example.com"),
        ("FRONTEND_URLS", {"verify_email": "https://admin:c4n4ry@example.com"}),
        ("ISSUER", "c4n4ry c4n4ry"),
        ("SIGNING_KEYS", ["c4n4ry"]),
        ("SESSION_LIMIT", "c4n4ry"),
        ("JWT_SECRET_KEY", b"c4n4ry"),
        ("JWT_SECRET_KEY", ["c4n4ry"]),
    ],
)
def test_text_that_is_not_allowed_is_not_shown_because_it_may_be_a_secret(
    kit: Callable[..., None], key: str, value: Any
) -> None:
    kit(**{key: value})

    (message,) = [message for message in ours() if message.id == "ninja_auth_kit.E003"]

    assert "c4n4ry" not in str(message)


def test_a_limit_that_is_none_is_named_with_what_was_meant(kit: Callable[..., None]) -> None:
    kit(THROTTLES={"login_networks": "20/m", "hash_network": ["60/m", "5/min"], "mail_owner": "10/h"})

    unknown, wrong = ours()

    assert unknown.msg == "NINJA_AUTH_KIT['THROTTLES'] has no rate limit 'login_networks'."
    assert unknown.hint == "Did you mean 'login_network'?"
    assert wrong.msg == "NINJA_AUTH_KIT['THROTTLES']['hash_network'] is not a valid rate (got ['60/m', '5/min'])."
    assert wrong.hint == "Use a rate such as '20/m', or several, such as ('10/15m', '100/30d')."


def test_an_event_that_is_none_gets_the_nearest_one(kit: Callable[..., None]) -> None:
    kit(AUDIT_DISABLED_TYPES=["session.logged_in", "session.refreshd", "xyzzy"])

    messages = ours()

    assert [message.id for message in messages] == ["ninja_auth_kit.E003", "ninja_auth_kit.E003"]
    assert "'session.refreshd'" in messages[0].msg
    assert messages[0].hint == "Did you mean 'session.refreshed'?"
    assert "email.verified" in str(messages[1].hint)


def test_every_key_has_a_rule_a_type_and_a_default_that_passes() -> None:
    of_features = {name for name, hint in get_type_hints(AuthKitSettings).items() if is_typeddict(hint)}
    assert set(SETTINGS) == set(AuthKitSettings.__annotations__) - of_features
    assert {key for key, _ in WRONG} == set(DEFAULTS)
    for setting in SETTINGS.values():
        assert setting.rule.allows(setting.default)
        assert setting.help.endswith(".")


@pytest.mark.security("CFG-05")
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


@pytest.mark.security("CFG-05", "SES-18")
def test_long_access_tokens_are_warned_of(kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_LIFETIME=HOUR)

    assert ids() == ["W003"]


@pytest.mark.security("CFG-05")
def test_another_database_stops_every_command_that_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")

    with pytest.raises(SystemCheckError, match=r"\(ninja_auth_kit.E005\) The database 'default' is not PostgreSQL"):
        call_command("check")
    assert ids() == ["E005"]


@pytest.mark.security("CFG-05")
@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE, 3, None])
def test_an_isolation_level_that_makes_parallel_logins_fail_is_an_error(
    monkeypatch: pytest.MonkeyPatch, level: Any
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"isolation_level": level})

    (message,) = ours()

    assert message.id == "ninja_auth_kit.E010"
    assert "parallel logins" in str(message.hint)


def test_options_that_are_no_dict_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", None)

    (message,) = ours()

    assert (message.id, message.msg) == (
        "ninja_auth_kit.E010",
        "DATABASES['default']['OPTIONS'] is not a dict, so its isolation level is unknown.",
    )


@pytest.mark.parametrize("options", [{}, {"isolation_level": IsolationLevel.READ_COMMITTED}, {"sslmode": "prefer"}])
def test_the_usual_isolation_level_is_fine(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    assert ids() == []


class NotDerived(models.Model):
    """A user model that is not derived from Django's base classes."""

    name = models.TextField()

    class Meta:
        app_label = "tests"

    def __str__(self) -> str:
        return self.name


class WithoutEmail(AbstractBaseUser):
    """A user model without an email address, with a required field that registration cannot fill."""

    USERNAME_FIELD = "name"
    name = models.TextField(unique=True)
    height = models.IntegerField()

    class Meta:
        app_label = "tests"


class NameAsKey(AbstractBaseUser):
    """A user model whose primary key is the email address."""

    USERNAME_FIELD = "email"
    email = models.EmailField(primary_key=True)

    class Meta:
        app_label = "tests"


class Employee(NameAsKey):
    """A user model that inherits such a primary key."""

    class Meta:
        app_label = "tests"


class WithUniqueFields(AbstractBaseUser):
    """A user model with unique fields and a required foreign key."""

    USERNAME_FIELD = "email"
    email = models.EmailField(unique=True)
    phone = models.CharField(max_length=20, unique=True)
    badge = models.CharField(max_length=20, unique=True, default="none")
    token = models.UUIDField(unique=True, default=uuid.uuid4)
    nickname = models.CharField(max_length=20, unique=True, null=True)  # noqa: DJ001  # the null is on purpose
    handle = models.CharField(max_length=20)
    initials = models.CharField(max_length=20)
    bio = models.TextField()
    boss = models.ForeignKey("self", on_delete=models.CASCADE)

    class Meta:
        app_label = "tests"
        constraints = [
            models.UniqueConstraint(Lower("handle"), name="handle"),
            models.UniqueConstraint("initials", name="initials", condition=models.Q(bio="x")),
        ]


class RegistrationWithBoss(RegistrationIn):
    """A registration with a foreign key."""

    boss_id: int


def messages_about(model: type[models.Model], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return the id and the text of each check message about a user model."""
    monkeypatch.setattr(checks.users_and_database, "get_user_model", lambda: model)
    messages = run_checks(tags=[Tags.models])
    return [(str(message.id)[-4:], message.msg) for message in messages if str(message.id).startswith("ninja_")]


def test_a_user_model_that_is_not_derived_from_django_s_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages_about(NotDerived, monkeypatch) == [("E006", "NotDerived has no password and no email field.")]


def test_a_user_model_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages_about(WithoutEmail, monkeypatch) == [
        ("E006", "WithoutEmail has no email field 'email'."),
        ("E013", "Registration cannot fill WithoutEmail.height."),
    ]


class TallRegistration(RegistrationIn):
    """A registration with a required field of the model."""

    height: int


def test_what_a_registration_of_the_host_asks_for_is_filled(
    monkeypatch: pytest.MonkeyPatch, kit: Callable[..., None]
) -> None:
    kit(REGISTRATION_SCHEMA="tests.test_checks.TallRegistration")

    assert [number for number, _ in messages_about(WithoutEmail, monkeypatch)] == ["E006"]


def test_a_unique_field_that_all_would_get_alike_cannot_be_filled(
    monkeypatch: pytest.MonkeyPatch, kit: Callable[..., None]
) -> None:
    kit(REGISTRATION_SCHEMA="tests.test_checks.RegistrationWithBoss")

    assert messages_about(WithUniqueFields, monkeypatch) == [
        ("E013", f"Registration cannot fill WithUniqueFields.{name}.") for name in ("phone", "badge", "handle")
    ]


class Asked(AbstractBaseUser):
    """A user model with fields that `createsuperuser` asks for."""

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name", "born", "boss", "height"]
    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=150)
    born = models.DateField(null=True)
    boss = models.ForeignKey("self", on_delete=models.CASCADE, null=True)
    height = models.IntegerField()

    class Meta:
        app_label = "tests"


def test_required_fields_that_registration_does_not_fill_are_named(
    monkeypatch: pytest.MonkeyPatch, kit: Callable[..., None]
) -> None:
    names = ("full_name", "born", "boss")
    left_empty = [("W005", f"Registration does not fill Asked.{name}, which REQUIRED_FIELDS names.") for name in names]
    assert messages_about(Asked, monkeypatch) == [*left_empty, ("E013", "Registration cannot fill Asked.height.")]

    kit(REGISTRATION_SCHEMA="tests.test_checks.RegistrationWithBoss")
    assert ("W005", "Registration does not fill Asked.boss, which REQUIRED_FIELDS names.") not in messages_about(
        Asked, monkeypatch
    )

    kit(CREATE_USER="tests.test_checks.messages_about")
    assert messages_about(Asked, monkeypatch) == []

    kit(CREATE_USER=None, REGISTRATION_OPEN=False)
    assert messages_about(Asked, monkeypatch) == []


@pytest.mark.parametrize("path", ["tests.test_checks.HOUR", "tests.test_checks.nothing", "nowhere.create_user"])
def test_a_create_user_that_cannot_be_called_is_an_error(kit: Callable[..., None], path: str) -> None:
    kit(CREATE_USER=path)

    (message,) = ours()

    assert message.id == "ninja_auth_kit.E011"
    assert message.msg.startswith("NINJA_AUTH_KIT['CREATE_USER'] ")
    assert "unsaved user" in str(message.hint)


@pytest.mark.parametrize("model", [NameAsKey, Employee])
def test_a_name_that_is_the_key_is_an_error_where_people_register(
    monkeypatch: pytest.MonkeyPatch, kit: Callable[..., None], model: type[models.Model]
) -> None:
    text = f"{model.__name__}.email is both USERNAME_FIELD and the primary key."
    assert messages_about(model, monkeypatch) == [("E009", text)]

    kit(REGISTRATION_OPEN=False)
    assert messages_about(model, monkeypatch) == []


@pytest.mark.security("CFG-03")
def test_outside_debug_links_need_a_base_url(
    kit: Callable[..., None], settings: Settings, outside_tests: None
) -> None:
    kit(BASE_URL=None)
    assert ids() == ["E007"]

    settings.DEBUG = True
    assert ids() == []
    assert kit_settings.BASE_URL == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["runserver"], "http://127.0.0.1:8000"),
        (["runserver", "8137"], "http://127.0.0.1:8137"),
        (["runserver", "--noreload", "0.0.0.0:8137", "--settings", "x.y"], "http://127.0.0.1:8137"),
        (["runserver", "--settings=x.y", "0:9000"], "http://127.0.0.1:9000"),
        (["runserver", "192.0.2.7:9001"], "http://192.0.2.7:9001"),
        (["runserver", "dev.example.test:9002", "--nothreading"], "http://dev.example.test:9002"),
        (["runserver", "[::]:9003"], "http://[::1]:9003"),
        (["runserver", "-6", "9004"], "http://[::1]:9004"),
        (["runserver", "--ipv6"], "http://[::1]:8000"),
        (["runserver", "nonsense"], "http://127.0.0.1:8000"),
        (["runserver", "8137", "8138"], "http://127.0.0.1:8137"),
        (["migrate", "8137"], "http://127.0.0.1:8000"),
        ([], "http://127.0.0.1:8000"),
    ],
)
def test_without_a_base_url_links_have_the_address_of_runserver(
    kit: Callable[..., None],
    settings: Settings,
    outside_tests: None,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    url: str,
) -> None:
    kit(BASE_URL=None)
    settings.DEBUG = True
    monkeypatch.setattr("sys.argv", ["manage.py", *arguments])

    assert url == kit_settings.BASE_URL


@pytest.mark.parametrize(
    ("forced", "base_url", "link"),
    [
        ("/app", "https://example.com", "https://example.com/app/api/auth/verify-email"),
        ("/app/", "https://example.com/", "https://example.com/app/api/auth/verify-email"),
        ("/app", "https://example.com/app", "https://example.com/app/api/auth/verify-email"),
        ("/a/b", "https://example.com:8443", "https://example.com:8443/a/b/api/auth/verify-email"),
        (None, "https://example.com/app", "https://example.com/app/api/auth/verify-email"),
        ("/", "https://example.com", "https://example.com/api/auth/verify-email"),
    ],
)
def test_links_are_below_the_forced_script_name(
    kit: Callable[..., None], settings: Settings, forced: str | None, base_url: str, link: str
) -> None:
    kit(BASE_URL=base_url)
    settings.FORCE_SCRIPT_NAME = forced
    set_script_prefix(forced or "/")  # as a request and `django.setup` do
    try:
        assert emails.page_url("verify_email") == link
    finally:
        set_script_prefix("/")
    assert ids() == []


@pytest.mark.parametrize("path", ["/", "/other", "/app/below"])
def test_another_path_than_the_forced_script_name_is_warned_of(
    kit: Callable[..., None], settings: Settings, path: str
) -> None:
    kit(BASE_URL="https://example.com" + path)
    settings.FORCE_SCRIPT_NAME = "/app"

    assert ids() == (["W027"] if path != "/" else [])


def test_a_test_run_which_turns_debug_off_needs_no_base_url(kit: Callable[..., None]) -> None:
    kit(BASE_URL=None)

    assert ids() == []
    assert kit_settings.BASE_URL == "http://127.0.0.1:8000"


WRONG_OF_THE_BROKER = [
    ("RABBITMQ_HOST", [7, " ", "two words", "amqp://guest:c4n4ry@broker", "c4n4ry@broker", b"broker"]),
    (
        "RABBITMQ_HOST",
        ["one:", "one:0", "one:70000", "one:amqp", "relay:c4n4ry", "one:5672:5673", "one,two:", ["one:x"]],
    ),
    ("RABBITMQ_HOST", ["[::1", "::1]", "[::1]x", "[::1]:", "[one]:5672", "[]", "::1:x"]),
    ("RABBITMQ_PORT", ["amqp", "0", 0, 70_000, "70000", "5672x", -1, 5672.0, True, "9" * 5000, " 5672"]),
    ("RABBITMQ_USER", [7, b"guest"]),
    ("RABBITMQ_PASSWORD", [b"c4n4ry", ["c4n4ry"]]),
    ("RABBITMQ_VHOST", [7, ["/"]]),
    ("RABBITMQ_TLS", ["false", "true", 0, 1]),
    *(
        (f"RABBITMQ_TLS_{name}", [7, b"file.pem", True, "-----BEGIN PRIVATE KEY-----c4n4ry", "c4n4ry\nc4n4ry"])
        for name in ("CAFILE", "CERTFILE", "KEYFILE")
    ),
    ("RABBITMQ_TLS_KEY_PASSWORD", [7, b"c4n4ry"]),
]


@pytest.mark.parametrize(("name", "values"), WRONG_OF_THE_BROKER)
def test_a_setting_of_the_broker_that_does_not_fit_is_named_and_not_shown(
    settings: Settings, name: str, values: list[Any]
) -> None:
    for value in values:
        setattr(settings, name, value)
        (message,) = ours()
        assert message.id == "ninja_auth_kit.E008"
        assert message.msg.startswith(f"{name} must be ")
        assert "c4n4ry" not in str(message)


@pytest.mark.parametrize("port", [5672, "5672", 1, "65535", "", None])
def test_settings_of_the_broker_as_an_environment_has_them_are_fine(settings: Settings, port: Any) -> None:
    assert set(BROKER_SETTINGS) == {name for name, _ in WRONG_OF_THE_BROKER}
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT, settings.RABBITMQ_TLS = "::1", port, True
    settings.RABBITMQ_USER, settings.RABBITMQ_PASSWORD, settings.RABBITMQ_VHOST = "kit", "two words", None

    assert ids() == []

    settings.RABBITMQ_HOST = ""
    assert ids() == []


def test_a_user_of_the_broker_without_a_password_is_an_error(settings: Settings) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_USER, settings.RABBITMQ_PASSWORD = "127.0.0.1", "relay", None

    (message,) = ours()

    assert (message.id, message.msg[:13]) == ("ninja_auth_kit.E008", "RABBITMQ_USER")
    assert "Set RABBITMQ_PASSWORD" in str(message.hint)
    settings.RABBITMQ_USER = "guest"
    assert ids() == []


def test_a_forgotten_line_in_the_urlconf_is_warned_of_with_the_line(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__

    (message,) = ours()

    assert message.id == "ninja_auth_kit.W004"
    assert __name__ in message.msg
    assert 'path("api/auth/", include("ninja_auth_kit.urls"))' in str(message.hint)
    assert "W004" not in {str(message.id)[-4:] for message in run_checks(tags=[Tags.models, Tags.security])}


@pytest.mark.parametrize("urlconf", ["tests.urls", "tests.host_app.urls_installed"])
def test_either_mount_is_enough(settings: Settings, urlconf: str) -> None:
    settings.ROOT_URLCONF = urlconf

    assert ids() == []


def test_a_process_without_a_urlconf_is_not_told_that_it_has_none(settings: Settings) -> None:
    del settings.ROOT_URLCONF

    assert ids() == []
    call_command("check", stdout=StringIO())


def test_every_number_is_given_once_and_stands_in_the_table() -> None:
    table = re.findall(r"^    ([EW]\d{3})  ", checks.__doc__ or "", re.MULTILINE)
    folder = Path(checks.__file__).parent
    files = [*folder.glob("*.py"), *folder.parent.glob("contrib/*/checks.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    used = set(re.findall(r'"([EW]\d{3})"', sources))

    assert len(table) == len(set(table))
    assert set(table) == used
