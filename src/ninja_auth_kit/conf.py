"""The settings: one table of all keys, and the only reader of `NINJA_AUTH_KIT`.

`AuthKitSettings` is the table. The defaults, the checks and the documentation are derived from it. Values are read
each time they are used, so `override_settings` works. The kit never reads the environment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_type_hints

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils.module_loading import import_string

from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import DAY, HOUR, MINUTE, SECOND, Rule

Duration = timedelta | int
"""A `timedelta`, or a number of seconds as an int."""

# The default rate limits, by name. Each may have several rates.
DEFAULT_THROTTLES: dict[str, str | Sequence[str]] = {
    # Wrong passwords for one account, from anywhere (NIST SP 800-63B-4 section 3.2.2: at most 100
    # in a row).
    "login_account": ("10/15m", "20/h", "100/30d"),
    # The same from a network that the account has logged in from, so that attackers elsewhere
    # cannot lock out the owner.
    "login_known_network": ("10/15m", "100/30d"),
    # Wrong passwords from one network (an IPv4 address or an IPv6 /64), for any account.
    "login_network": ("20/m", "200/h"),
    # Wrong passwords of one account where the password confirms an operation.
    "password_account": ("10/15m", "100/30d"),
    # Registrations and requests for emails from one network.
    "request_network": ("20/m", "200/h"),
    # Passwords hashed for one network, right or wrong: each hash occupies a processor for a while.
    "hash_network": ("60/m",),
    # Rejected tokens from one network.
    "token_network": ("60/m",),
    # Emails that anyone can cause: to one recipient, from one network to one recipient, and from
    # one network. Beyond the limit, emails are not sent. The limits per network keep strangers from
    # using up the emails of the owner.
    "mail_recipient": ("10/h", "30/d"),
    "mail_recipient_network": ("3/h",),
    "mail_network": ("20/h",),
    # Emails to one recipient that only say "you have an account", so that they do not use up the
    # others.
    "mail_notice": ("1/h",),
    # Emails that tell an owner about a change of the account.
    "mail_owner": ("10/h",),
}


# The groups of the table, which are headings in docs/settings.md.
ACCESS_TOKENS, SESSIONS, REGISTRATION = "Access tokens", "Sessions", "Registration"
EMAIL_ADDRESSES_AND_PASSWORDS = "Email addresses and passwords"
RATE_LIMITS_AND_CLIENTS, AUDIT_EVENTS, BROKER = "Rate limits and clients", "Audit events", "Broker"


@dataclass(frozen=True)
class Setting:
    """One row of the table of settings.

    Attributes:
        default: the value of a setting that is not configured.
        rule: what a configured value must be.
        group: the heading in the documentation.
        help: one line for the documentation, in Markdown.
    """

    default: Any
    rule: Rule
    group: str
    help: str


class SigningKey(TypedDict):
    """One key of `SIGNING_KEYS`. `key` is PEM, or a former or next `JWT_SECRET_KEY`, which is verify-only."""

    kid: NotRequired[str]
    alg: Literal["HS256", "HS384", "HS512", "ES256", "EdDSA", "PS256", "RS256"]
    key: str
    state: Literal["active", "verify-only"]


class AuthKitSettings(TypedDict, total=False):
    """The keys of `NINJA_AUTH_KIT`. Annotate your dict with this class, and editors complete and check it."""

    JWT_SECRET_KEY: Annotated[
        str,
        Setting(
            None,
            rules.ROOT_SECRET,
            ACCESS_TOKENS,
            "The root secret, if another package or your own code reads the plain setting `JWT_SECRET_KEY`. If this "
            "key is in the dict, the kit does not read the plain setting.",
        ),
    ]
    JWT_ALGORITHM: Annotated[
        Literal["HS256", "HS384", "HS512"],
        Setting(
            "HS256",
            rules.one_of(*rules.HMAC_ALGORITHMS),
            ACCESS_TOKENS,
            "The algorithm by which `JWT_SECRET_KEY` signs access tokens.",
        ),
    ]
    SIGNING_KEYS: Annotated[
        Sequence[SigningKey] | None,
        Setting(
            None,
            rules.SIGNING_KEYS,
            ACCESS_TOKENS,
            "Keys that sign and verify access tokens, for [other services](verifying-tokens.md) and for "
            "key rotation. With None, `JWT_SECRET_KEY` signs and only this project can verify.",
        ),
    ]
    ISSUER: Annotated[
        str,
        Setting(
            "ninja-auth-kit",
            rules.WORD,
            ACCESS_TOKENS,
            "The `iss` claim of access tokens, compared exactly, and the `source` of audit events.",
        ),
    ]
    AUDIENCE: Annotated[
        str,
        Setting("ninja-auth-kit", rules.WORD, ACCESS_TOKENS, "The `aud` claim of access tokens, compared exactly."),
    ]
    # Short, because services that verify by signature alone cannot see that a session ended (RFC
    # 9068 section 5).
    ACCESS_TOKEN_LIFETIME: Annotated[
        Duration,
        Setting(
            5 * MINUTE,
            rules.duration(SECOND, DAY),
            ACCESS_TOKENS,
            "The lifetime of an access token. A service that verifies by signature alone accepts the "
            "token of an ended session until then.",
        ),
    ]
    ACCESS_TOKEN_CLAIMS: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.claims.claims"),
            ACCESS_TOKENS,
            "A callable that takes the user and the session and returns [additional "
            "claims](extending.md#your-own-claims).",
        ),
    ]
    # NIST SP 800-63B-4 section 2.1.3: reauthenticate at least every 30 days.
    SESSION_LIFETIME: Annotated[
        Duration,
        Setting(
            30 * DAY,
            rules.duration(SECOND, 3650 * DAY),
            SESSIONS,
            "The absolute limit of a session. A refresh does not extend it.",
        ),
    ]
    REFRESH_TOKEN_LIFETIME: Annotated[
        Duration,
        Setting(
            7 * DAY,
            rules.duration(SECOND, 3650 * DAY),
            SESSIONS,
            "The idle limit of a session: the lifetime of a refresh token. Each refresh starts it again.",
        ),
    ]
    REFRESH_GRACE_PERIOD: Annotated[
        Duration,
        Setting(
            10 * SECOND,
            rules.duration(timedelta(0), MINUTE),
            SESSIONS,
            "How long the previous refresh token is accepted and answered with the same successor. 0 turns this off.",
        ),
    ]
    # The highest value of a PositiveSmallIntegerField.
    SESSION_LIMIT: Annotated[
        int | None,
        Setting(
            1,
            rules.integer(1, 32_767, or_none="for no limit"),
            SESSIONS,
            "How many sessions a user may have at the same time.",
        ),
    ]
    SESSION_LIMIT_POLICY: Annotated[
        Literal["replace", "reject"],
        Setting(
            "replace",
            rules.one_of("replace", "reject"),
            SESSIONS,
            "What a login beyond the limit does: end the oldest session, or fail with 409.",
        ),
    ]
    REGISTRATION_OPEN: Annotated[
        bool, Setting(True, rules.BOOLEAN, REGISTRATION, "Whether registration is open to everyone.")
    ]
    REGISTRATION_SCHEMA: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.schemas.Registration"),
            REGISTRATION,
            "[A schema](extending.md#your-own-fields) for the body of a registration.",
        ),
    ]
    PROFILE_SCHEMA: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.schemas.Profile"),
            REGISTRATION,
            "A schema of the fields that `PATCH me` may change. With None, no field can be changed.",
        ),
    ]
    USER_SCHEMA: Annotated[
        str | None,
        Setting(
            None, rules.dotted_path("accounts.schemas.User"), REGISTRATION, "A schema for the answer of `GET me`."
        ),
    ]
    EMAIL_VERIFICATION_REQUIRED: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "Whether users must verify their email address before they can log in.",
        ),
    ]
    EMAIL_VERIFICATION_REQUIRES_PASSWORD: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "Whether the verification link also asks for the password chosen at registration.",
        ),
    ]
    EMAIL_VERIFICATION_LIFETIME: Annotated[
        Duration,
        Setting(
            DAY, rules.duration(MINUTE, 7 * DAY), EMAIL_ADDRESSES_AND_PASSWORDS, "The lifetime of a verification link."
        ),
    ]
    PASSWORD_RESET_LIFETIME: Annotated[
        Duration,
        Setting(
            HOUR, rules.duration(MINUTE, HOUR), EMAIL_ADDRESSES_AND_PASSWORDS, "The lifetime of a password reset link."
        ),
    ]
    # The link proves that the mailbox is theirs. A directory such as LDAP may have to stay the only way in.
    PASSWORD_RESET_SETS_FIRST_PASSWORD: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "Whether a password reset sets the [first password](features/passwords.md#users-without-a-password) "
            "of a user without one.",
        ),
    ]
    BASE_URL: Annotated[
        str | None,
        Setting(
            None,
            rules.BASE_URL,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "The scheme and host of links in emails, and the path that Django is mounted below. With "
            "None, `http://127.0.0.1:8000` is used if `DEBUG` is on and in tests; otherwise it is an "
            "error.",
        ),
    ]
    FRONTEND_URLS: Annotated[
        Mapping[str, str],
        Setting(
            {},
            rules.FRONTEND_URLS,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "Pages of your front end that links in emails open. The token is appended as `#token=…`. "
            "Without an entry, the link opens the kit's own page.",
        ),
    ]
    TRUSTED_PROXY_COUNT: Annotated[
        int,
        Setting(
            0,
            rules.integer(0),
            RATE_LIMITS_AND_CLIENTS,
            "How many of the right-most addresses in `X-Forwarded-For` were added by your own proxies.",
        ),
    ]
    THROTTLES: Annotated[
        Mapping[str, str | Sequence[str]],
        Setting(
            DEFAULT_THROTTLES,
            rules.rate_limits(tuple(DEFAULT_THROTTLES)),
            RATE_LIMITS_AND_CLIENTS,
            "[Rate limits](features/throttling.md), by name. `{}` turns all of them off.",
        ),
    ]
    # The stream is named after the exchange, with the suffix `.audit`. A name has at most 255 bytes.
    AUDIT_EXCHANGE: Annotated[
        str,
        Setting("auth.events", rules.exchange_name(255 - len(".audit")), AUDIT_EVENTS, "The exchange in RabbitMQ."),
    ]
    AUDIT_DECLARE: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            AUDIT_EVENTS,
            "Whether the relay declares the exchange and the stream. If not, they must exist.",
        ),
    ]
    # A laptop needs no second process; a server should have one.
    AUDIT_EMBEDDED_RELAY: Annotated[
        bool | None,
        Setting(
            None,
            rules.BOOLEAN_OR_NONE,
            AUDIT_EVENTS,
            "Whether web processes publish events in a thread. With None, they do if `DEBUG` is on.",
        ),
    ]
    AUDIT_LISTEN: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            AUDIT_EVENTS,
            "Whether `NOTIFY` wakes the relay. Turn it off behind a pooler in transaction mode, where "
            "`LISTEN` receives nothing.",
        ),
    ]
    AUDIT_DISABLED_TYPES: Annotated[
        Sequence[str],
        Setting((), rules.WORDS, AUDIT_EVENTS, "Events that are not recorded, by name or CloudEvents type."),
    ]
    AUDIT_IP: Annotated[
        Literal["full", "truncated", "hmac", "none"],
        Setting(
            "full",
            rules.one_of("full", "truncated", "hmac", "none"),
            AUDIT_EVENTS,
            "How the client's IP address appears in events.",
        ),
    ]


SETTINGS: dict[str, Setting] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(AuthKitSettings, include_extras=True).items()
}
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}
DURATIONS = frozenset(name for name, default in DEFAULTS.items() if isinstance(default, timedelta))
DEVELOPMENT_BASE_URL = "http://127.0.0.1:8000"

# Plain Django settings. `tokens.key_checks` checks JWT_SECRET_KEY, at every start, in either place.
BROKER_SETTINGS: dict[str, Setting] = {
    "RABBITMQ_HOST": Setting(None, rules.HOSTS, BROKER, "The hosts of RabbitMQ. Without one, events are only logged."),
    "RABBITMQ_PORT": Setting(None, rules.PORT, BROKER, "5672 by default, 5671 with TLS."),
    "RABBITMQ_USER": Setting("guest", rules.STRING, BROKER, "The user name."),
    "RABBITMQ_PASSWORD": Setting("guest", rules.STRING, BROKER, "The password."),
    "RABBITMQ_VHOST": Setting("/", rules.STRING, BROKER, "The virtual host."),
    "RABBITMQ_TLS": Setting(False, rules.STRICT_BOOLEAN, BROKER, "Whether to use TLS and verify the certificate."),
}


class Settings:
    """The keys of `NINJA_AUTH_KIT` as attributes. A duration is always a `timedelta`."""

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"ninja_auth_kit has no setting {name!r}.")
        configured = getattr(django_settings, "NINJA_AUTH_KIT", None)
        if not isinstance(configured, dict):  # missing, or an error that check E001 reports
            return DEFAULTS[name]
        value = configured.get(name, DEFAULTS[name])
        return timedelta(seconds=value) if name in DURATIONS and isinstance(value, int) else value

    @property
    def BASE_URL(self) -> str | None:  # noqa: N802  # the name of the setting
        """The scheme, host and path that links in emails start with, without a trailing slash.

        None if it is required and missing.
        """
        configured = self.__getattr__("BASE_URL")
        # Test runners turn DEBUG off. They are recognised by the outbox that they create.
        if configured is None and (django_settings.DEBUG or hasattr(mail, "outbox")):
            return DEVELOPMENT_BASE_URL
        return configured.rstrip("/") if isinstance(configured, str) else None

    @property
    def AUDIT_EMBEDDED_RELAY(self) -> bool:  # noqa: N802  # the name of the setting
        """Whether web processes publish the outbox themselves, in a thread."""
        configured = self.__getattr__("AUDIT_EMBEDDED_RELAY")
        return bool(django_settings.DEBUG if configured is None else configured)

    @property
    def JWT_SECRET_KEY(self) -> str:  # noqa: N802  # the name of the setting
        """The root secret. `tokens.key_checks` has checked at start that it is strong.

        `NINJA_AUTH_KIT` wins over the plain setting, even with None: if a variable of the environment is missing, the
        kit must not use the key of another package instead.
        """
        key: str = _own_root_secret()["JWT_SECRET_KEY"] if _own_root_secret() else django_settings.JWT_SECRET_KEY
        return key


settings = Settings()


def imported(name: str) -> Any:
    """Return the object that a setting names by its dotted path, or None if the setting is None.

    Raises:
        ImproperlyConfigured: the path cannot be imported.
    """
    path = getattr(settings, name)
    if path is None:
        return None
    try:
        return import_string(str(path))
    except Exception as error:  # a module of the project can raise any exception
        cause = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT[{name!r}] cannot be imported: {cause}") from error


def _own_root_secret() -> dict[str, Any]:
    """Return `NINJA_AUTH_KIT` if it has a root secret, or {}.

    Callers must not keep the dict in a variable: error reports show the variables of a frame that fails.
    """
    configured = getattr(django_settings, "NINJA_AUTH_KIT", None)
    return configured if isinstance(configured, dict) and "JWT_SECRET_KEY" in configured else {}


def root_secret_name() -> str:
    """Return the name of the setting that the root secret is read from, as errors and instructions write it."""
    return "NINJA_AUTH_KIT['JWT_SECRET_KEY']" if _own_root_secret() else "JWT_SECRET_KEY"


def accounts_database() -> str:
    """Return the alias of the database that users are written to.

    The kit's tables are in the same database, because a transaction cannot span two.
    """
    return router.db_for_write(get_user_model())


def atomic() -> transaction.Atomic:
    """Return `transaction.atomic` for the accounts database."""
    return transaction.atomic(using=accounts_database())


@dataclass(frozen=True)
class Broker:
    """The address of RabbitMQ and the credentials. The password is not in the repr, which error reports print."""

    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool


def broker_hosts() -> tuple[str, ...]:
    """Return the hosts of `RABBITMQ_HOST`: a list, or a string with commas. Without hosts, events are only logged."""
    named = getattr(django_settings, "RABBITMQ_HOST", None) or ()
    named = named if isinstance(named, list | tuple) else str(named).split(",")
    return tuple(filter(None, (str(host).strip() for host in named)))


def broker() -> Broker | None:
    """Return the RabbitMQ settings, or None without a host."""
    hosts = broker_hosts()
    if not hosts:
        return None
    tls = bool(getattr(django_settings, "RABBITMQ_TLS", False))
    return Broker(
        hosts=hosts,
        port=int(getattr(django_settings, "RABBITMQ_PORT", None) or (5671 if tls else 5672)),
        user=getattr(django_settings, "RABBITMQ_USER", None) or "guest",
        password=getattr(django_settings, "RABBITMQ_PASSWORD", None) or "guest",
        vhost=getattr(django_settings, "RABBITMQ_VHOST", None) or "/",
        tls=tls,
    )
