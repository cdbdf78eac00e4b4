"""The settings: one table of all keys, and the only reader of `NINJA_AUTH_KIT`.

`AuthKitSettings` is the table. The defaults, the checks and the documentation are derived from it. Values are read
each time they are used, so `override_settings` works. The kit never reads the environment.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from os import PathLike
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, get_type_hints
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router, transaction
from django.utils.module_loading import import_string

from ninja_auth_kit import features
from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.development_url import development_url
from ninja_auth_kit.setting_rules import DAY, HOUR, MINUTE, SECOND, Setting, is_integer
from ninja_auth_kit.tenancy import is_backend_with_schemas, qualified_issuer
from ninja_auth_kit.tls import TLS

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
    # Wrong passwords from one network (an IPv4 address or an IPv6 /64), for any account. The limits
    # of a network leave room for a class of thirty people behind one address, who register, make
    # mistakes and log in within ten minutes.
    "login_network": ("40/m", "200/h"),
    # Wrong passwords of one account where the password confirms an operation.
    "password_account": ("10/15m", "100/30d"),
    # Registrations and requests for emails from one network.
    "request_network": ("60/m", "300/h"),
    # Passwords hashed for one network, right or wrong: each hash occupies a processor for a while.
    "hash_network": ("60/m",),
    # Rejected tokens from one network.
    "token_network": ("60/m",),
    # Requests from one network that cause an email if an account has the address, whether or not
    # one has. Beyond the limit, the response is 429.
    "mail_network": ("120/h",),
    # Emails that anyone can cause: to one recipient, and from one network to one recipient, so that
    # strangers cannot use up the emails of the owner. Beyond the limit, emails are not sent, and
    # the response does not say so: it would reveal who has an account.
    "mail_recipient": ("10/h", "30/d"),
    "mail_recipient_network": ("3/h",),
    # Emails to one recipient that only say "you have an account", so that they do not use up the
    # others.
    "mail_notice": ("1/h",),
    # Emails that tell an owner about a change of the account.
    "mail_owner": ("10/h",),
}


# The groups of the table, which are headings in docs/settings.md.
ACCESS_TOKENS, SESSIONS, REGISTRATION = "Access tokens", "Sessions", "Registration"
EMAIL_ADDRESSES_AND_PASSWORDS = "Email addresses and passwords"
DOCUMENTATION = "Documentation"
RATE_LIMITS_AND_CLIENTS, AUDIT_EVENTS, BROKER = "Rate limits and clients", "Audit events", "Broker"
ASGI = "ASGI"
TENANTS = "Tenants and row-level security"


class SigningKey(TypedDict):
    """One key of `SIGNING_KEYS`. `key` is PEM, or a former or next `JWT_SECRET_KEY`, which is verify-only."""

    kid: NotRequired[str]
    alg: Literal["HS256", "HS384", "HS512", "ES256", "EdDSA", "PS256", "RS256"]
    key: str
    state: Literal["active", "verify-only"]


class FactorSettings(TypedDict, total=False):
    """The keys of `FACTORS`, for `ninja_auth_kit.contrib.factors`."""

    REMEMBER_DEVICE: Duration | None
    RECOVERY_CODES: int


class TotpSettings(TypedDict, total=False):
    """The keys of `TOTP`, for `ninja_auth_kit.contrib.totp`."""

    ISSUER_NAME: str | None
    DRIFT: int
    LIMIT: int


class PasskeySettings(TypedDict, total=False):
    """The keys of `PASSKEYS`, for `ninja_auth_kit.contrib.passkeys`."""

    RP_ID: str | None
    RP_NAME: str | None
    ORIGINS: Sequence[str] | None
    LIMIT: int
    GUARDS_PASSWORD: bool


class ApiKeySettings(TypedDict, total=False):
    """The keys of `API_KEYS`, for `ninja_auth_kit.contrib.api_keys`."""

    SCOPES: Mapping[str, str]
    LIFETIME: Duration
    MAX_LIFETIME: Duration
    LIMIT: int


class EmailCodeSettings(TypedDict, total=False):
    """The keys of `EMAIL_CODE`, for `ninja_auth_kit.contrib.email_code`."""

    REGISTERS: bool


class ProviderSettings(TypedDict, total=False):
    """A provider in `PROVIDERS`. The presets are those of Apple, GitHub, Google and Microsoft."""

    preset: Literal["apple", "github", "google", "microsoft"]
    issuer: str
    client_ids: Sequence[str]
    client_secret: str
    auth_method: Literal["client_secret_basic", "client_secret_post", "none"]
    scope: str
    name: str
    email_trusted: bool
    links_verified_email: bool
    ca_file: str | PathLike[str]
    algorithms: Sequence[Literal["ES256", "EdDSA", "PS256", "RS256"]]
    tenant: str
    tenants: Sequence[str]
    team_id: str
    key_id: str
    private_key: str
    api: str


class OidcSettings(TypedDict, total=False):
    """The keys of `OIDC`, for `ninja_auth_kit.contrib.oidc`."""

    PROVIDERS: Mapping[str, ProviderSettings]
    REDIRECT_URIS: Sequence[str]
    REGISTERS: bool


class CookieSettings(TypedDict, total=False):
    """The keys of `COOKIES`, for `ninja_auth_kit.contrib.cookies`."""

    ORIGINS: Sequence[str] | None


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
            "The `iss` claim of access tokens, compared exactly, and the `source` of audit events. If [other "
            "services](verifying-tokens.md) verify tokens, use the URL that the kit is mounted at.",
        ),
    ]
    AUDIENCE: Annotated[
        str,
        Setting("ninja-auth-kit", rules.WORD, ACCESS_TOKENS, "The `aud` claim of access tokens, compared exactly."),
    ]
    CLIENT_ID: Annotated[
        str | None,
        Setting(
            None,
            rules.WORD_OR_NONE,
            ACCESS_TOKENS,
            "The `client_id` claim of access tokens, which [some verifiers](verifying-tokens.md#verifiers) require. "
            "The kit does not check it. With None, the tokens do not have it.",
        ),
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
        Duration | None,
        Setting(
            10 * SECOND,
            rules.duration(timedelta(0), MINUTE, or_none="for no limit"),
            SESSIONS,
            "How long the previous refresh token is accepted and answered with the same successor. 0 turns this off. "
            "With None, it is accepted until the successor is used; [what that costs]"
            "(features/refresh.md#without-a-limit-of-time).",
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
    # ASVS 7.5.1 and NIST SP 800-63B-4 section 4.1.2.1: authenticate again before changing authenticators.
    STEP_UP_MAX_AGE: Annotated[
        Duration,
        Setting(
            10 * MINUTE,
            rules.duration(MINUTE, DAY),
            SESSIONS,
            "How long ago the user may have been authenticated for a [sensitive operation](features/step-up.md).",
        ),
    ]
    # The dicts of optional apps, which have their rows: see `nested_settings`.
    API_KEYS: ApiKeySettings
    COOKIES: CookieSettings
    FACTORS: FactorSettings
    TOTP: TotpSettings
    PASSKEYS: PasskeySettings
    EMAIL_CODE: EmailCodeSettings
    OIDC: OidcSettings
    REGISTRATION_OPEN: Annotated[
        bool, Setting(True, rules.BOOLEAN, REGISTRATION, "Whether registration is open to everyone.")
    ]
    UNVERIFIED_RETENTION: Annotated[
        Duration | None,
        Setting(
            30 * DAY,
            rules.duration(7 * DAY, 3650 * DAY, or_none="to keep them"),
            REGISTRATION,
            "After how long `authkit_prune` deletes registrations whose email address was never verified. It never "
            "deletes users who were made elsewhere, or who have ever logged in.",
        ),
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
    CREATE_USER: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.registration.create_user"),
            REGISTRATION,
            "A callable that takes the values of a registration and returns [the unsaved "
            "user](extending.md#your-own-way-to-create-users).",
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
    # A directory such as LDAP may have to stay the only way in.
    USERS_SET_FIRST_PASSWORD: Annotated[
        bool,
        Setting(
            True,
            rules.BOOLEAN,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "Whether a user without a password can set the "
            "[first one](features/passwords.md#users-without-a-password), by a reset or a change.",
        ),
    ]
    BASE_URL: Annotated[
        str | None,
        Setting(
            None,
            rules.BASE_URL,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "The scheme and host of links in emails, and the path that Django is mounted below, which is "
            "`FORCE_SCRIPT_NAME` unless you give one. With None, the address of `runserver` is used if `DEBUG` is on, "
            "and `http://127.0.0.1:8000` in tests and other servers; without `DEBUG`, it is an error.",
        ),
    ]
    SITE_NAME: Annotated[
        str | None,
        Setting(
            None,
            rules.SITE_NAME,
            EMAIL_ADDRESSES_AND_PASSWORDS,
            "The name of your site in emails, in their subjects, and on the kit's own pages. With None, "
            "it is the host of `BASE_URL`.",
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
    DOCS_DECORATOR: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("django.contrib.admin.views.decorators.staff_member_required"),
            DOCUMENTATION,
            "A decorator for the views of the documentation and the schema of `ninja_auth_kit.urls`. With `install`, "
            "the `docs_decorator` of your own API applies.",
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
            rules.rate_limits(tuple(DEFAULT_THROTTLES), more=features.throttles),
            RATE_LIMITS_AND_CLIENTS,
            "[Rate limits](features/throttling.md), by name. `{}` turns all of them off, except those of installed "
            "features, which None turns off one by one.",
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
    ASGI_CONNECTIONS: Annotated[
        int,
        Setting(
            8,
            rules.integer(0, 1000),
            ASGI,
            "How many [connections to the database](howto/asgi.md) each process keeps for the kit's own queries under "
            "ASGI. With 0, each request opens one.",
        ),
    ]
    CONNECTION_STATE: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.database.connection_state"),
            TENANTS,
            "A callable that takes the connection of a request and returns [a callable that prepares another "
            "connection](howto/multi-tenancy.md#row-level-security) for emails and audit events. The schema of "
            "django-tenants is carried over without it.",
        ),
    ]
    TENANT_SETTINGS: Annotated[
        str | None,
        Setting(
            None,
            rules.dotted_path("accounts.tenants.tenant_settings"),
            TENANTS,
            "A callable that takes a connection and returns a dict of the [settings of its "
            "tenant](howto/multi-tenancy.md#settings-of-a-tenant): any of `AUDIENCE`, `BASE_URL`, `FRONTEND_URLS`, "
            "`ISSUER` and `SITE_NAME`.",
        ),
    ]


SETTINGS: dict[str, Setting] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(AuthKitSettings, include_extras=True).items()
    if hasattr(hint, "__metadata__")  # the others are dicts of optional apps
}
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


def nested_settings() -> dict[str, Mapping[str, Setting]]:
    """Return the rows of the dicts that features have in `NINJA_AUTH_KIT`, by the key of the dict."""
    return {one.settings_key: one.settings for one in features.features() if one.settings_key}


PER_TENANT = frozenset({"AUDIENCE", "BASE_URL", "FRONTEND_URLS", "ISSUER", "SITE_NAME"})
DURATIONS = frozenset(name for name, setting in SETTINGS.items() if setting.is_duration)

# Plain Django settings. `tokens.key_checks` checks JWT_SECRET_KEY, at every start, in either place.
BROKER_SETTINGS: dict[str, Setting] = {
    "RABBITMQ_HOST": Setting(
        None,
        rules.HOSTS,
        BROKER,
        "The hosts of RabbitMQ, each with a port if it has its own, such as `one.example,two.example:5673`. Without "
        "one, events are only logged.",
    ),
    "RABBITMQ_PORT": Setting(
        None, rules.PORT, BROKER, "The port of the hosts without their own: 5672 by default, 5671 with TLS."
    ),
    "RABBITMQ_USER": Setting("guest", rules.STRING, BROKER, "The user name."),
    "RABBITMQ_PASSWORD": Setting("guest", rules.STRING, BROKER, "The password."),
    "RABBITMQ_VHOST": Setting("/", rules.STRING, BROKER, "The virtual host."),
    "RABBITMQ_TLS": Setting(False, rules.STRICT_BOOLEAN, BROKER, "Whether to use TLS and verify the certificate."),
    "RABBITMQ_TLS_CAFILE": Setting(
        None,
        rules.FILE,
        BROKER,
        "The certificate authorities of the broker's certificate. With None, those of the system.",
    ),
    "RABBITMQ_TLS_CERTFILE": Setting(
        None, rules.FILE, BROKER, "The [client certificate](audit.md#client-certificates), if the broker requires one."
    ),
    "RABBITMQ_TLS_KEYFILE": Setting(
        None, rules.FILE, BROKER, "The private key of the client certificate. With None, it is in the same file."
    ),
    "RABBITMQ_TLS_KEY_PASSWORD": Setting(
        None, rules.STRING, BROKER, "The password of the private key, if it is encrypted."
    ),
}

# The attribute of `TLS` that each of them is.
TLS_SETTINGS = {
    "cafile": "RABBITMQ_TLS_CAFILE",
    "certfile": "RABBITMQ_TLS_CERTFILE",
    "keyfile": "RABBITMQ_TLS_KEYFILE",
    "password": "RABBITMQ_TLS_KEY_PASSWORD",
}


_MISSING = object()


class Settings:
    """The keys of `NINJA_AUTH_KIT` as attributes. A duration is always a `timedelta`."""

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            if name in nested_settings():
                return self._nested(name)
            raise AttributeError(f"ninja_auth_kit has no setting {name!r}.")
        configured = getattr(django_settings, "NINJA_AUTH_KIT", None)
        if not isinstance(configured, dict):  # missing, or an error that check E001 reports
            return DEFAULTS[name]
        if name in PER_TENANT and configured.get("TENANT_SETTINGS") is not None:
            configured = {**configured, **_tenant_settings()}
        value = configured.get(name, DEFAULTS[name])
        return timedelta(seconds=value) if name in DURATIONS and isinstance(value, int) else value

    def _nested(self, key: str) -> dict[str, Any]:
        """Return the dict of a feature, merged over its defaults. Durations are timedeltas."""
        rows = nested_settings()[key]
        configured = getattr(django_settings, "NINJA_AUTH_KIT", None)
        found = configured.get(key) if isinstance(configured, dict) else None
        merged = {**{name: row.default for name, row in rows.items()}, **(found if isinstance(found, dict) else {})}
        return {
            name: timedelta(seconds=value) if rows[name].is_duration and is_integer(value, 0) else value
            for name, value in merged.items()
            if name in rows
        }

    @property
    def ISSUER(self) -> str:  # noqa: N802  # the name of the setting
        """The `iss` claim, and the `source` of events. If each tenant has users of its own, it is unique for each."""
        configured = self.__getattr__("ISSUER")
        if "ISSUER" in _tenant_settings() or not isinstance(configured, str):
            return configured  # type: ignore[no-any-return]  # check E003 reports what is not a string
        alias = accounts_database()
        # In an event loop, Django would create a connection object for each request.
        if not is_backend_with_schemas(connections.settings[alias]["ENGINE"]):
            return configured
        return qualified_issuer(configured, connections[alias])

    @property
    def BASE_URL(self) -> str | None:  # noqa: N802  # the name of the setting
        """The scheme, host and path that links in emails start with, without a trailing slash.

        None if it is required and missing.
        """
        configured = self.__getattr__("BASE_URL")
        # Test runners turn DEBUG off. They are recognized by the outbox that they create.
        if configured is None and (django_settings.DEBUG or hasattr(mail, "outbox")):
            # `runserver` does not serve below a forced path.
            return development_url(as_localhost=features.need_localhost())
        if not isinstance(configured, str):
            return None
        url = configured.rstrip("/")
        return url if "/" in url.partition("://")[2] else url + forced_path()

    @property
    def SITE_NAME(self) -> str:  # noqa: N802  # the name of the setting
        """The name of the site for emails and pages. It is never taken from a request."""
        configured = self.__getattr__("SITE_NAME")
        return configured if isinstance(configured, str) else urlsplit(self.BASE_URL or "").netloc

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
        key: Any = _own_root_secret().get("JWT_SECRET_KEY", _MISSING)
        return django_settings.JWT_SECRET_KEY if key is _MISSING else key


settings = Settings()


def _tenant_settings() -> Mapping[str, Any]:
    """Return the settings of the tenant of this thread's connection, from `TENANT_SETTINGS`.

    Raises:
        ImproperlyConfigured: it cannot be imported, or returns something that is not allowed. The text contains no
            value.
    """
    settings_of = imported_callable("TENANT_SETTINGS")
    found = settings_of(connections[accounts_database()]) if settings_of else {}
    if not isinstance(found, Mapping):
        raise _misconfigured_tenant(f"must return a dict (got a value of the type {type(found).__name__})")
    for key, value in found.items():
        if key not in PER_TENANT:
            raise _misconfigured_tenant(f"returned the key {key!r}; it may return {', '.join(sorted(PER_TENANT))}")
        if not SETTINGS[key].rule.allows(value):
            raise _misconfigured_tenant(f"returned a value of {key!r} that must be {SETTINGS[key].rule.text}")
    return found


def _misconfigured_tenant(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The function that NINJA_AUTH_KIT['TENANT_SETTINGS'] names {what}.")


def forced_path() -> str:
    """Return the path of `FORCE_SCRIPT_NAME`, without a slash at its end; "" without one."""
    path = (getattr(django_settings, "FORCE_SCRIPT_NAME", None) or "").strip("/")
    return f"/{path}" if path else ""


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


def imported_callable(name: str) -> Callable[..., Any] | None:
    """Return the callable that a setting names by its dotted path, or None if the setting is None.

    Raises:
        ImproperlyConfigured: the path cannot be imported, or names something else.
    """
    named: Callable[..., Any] | None = imported(name)
    if named is not None and not callable(named):
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT[{name!r}] must name a callable.")
    return named


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
    if not router.routers:  # Django's answer, which each request needs several times
        return DEFAULT_DB_ALIAS
    return router.db_for_write(get_user_model())


def atomic() -> transaction.Atomic:
    """Return `transaction.atomic` for the accounts database."""
    return transaction.atomic(using=accounts_database())


def close_accounts_connection() -> None:
    """Close this thread's connection to the accounts database, so that the next statement opens another one.

    The server connection is closed first: Django's pool (`OPTIONS["pool"]`) then discards it, and keeps it otherwise.
    """
    connection = connections[accounts_database()]
    with suppress(Error):
        if connection.connection is not None:
            connection.connection.close()
        connection.close()


class BrokerAddress(NamedTuple):
    """A host and its port. As text, an IPv6 address is in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Broker:
    """The addresses of RabbitMQ and the credentials. The password is not in the repr, which error reports print.

    Attributes:
        tls: the files of TLS connections, or None without TLS.
    """

    addresses: tuple[BrokerAddress, ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: TLS | None


def broker_hosts() -> tuple[str, ...]:
    """Return the hosts of `RABBITMQ_HOST`: a list, or a string with commas. Without hosts, events are only logged."""
    named = getattr(django_settings, "RABBITMQ_HOST", None) or ()
    named = named if isinstance(named, list | tuple) else str(named).split(",")
    return tuple(filter(None, (str(host).strip() for host in named)))


def broker() -> Broker | None:
    """Return the RabbitMQ settings, or None without a host.

    Raises:
        ValueError: a host has an invalid port, which check E008 reports.
    """
    hosts = broker_hosts()
    if not hosts:
        return None
    tls = bool(getattr(django_settings, "RABBITMQ_TLS", False))
    port = int(getattr(django_settings, "RABBITMQ_PORT", None) or (5671 if tls else 5672))
    return Broker(
        addresses=tuple(BrokerAddress(host, own_port or port) for host, own_port in map(rules.parse_host, hosts)),
        user=getattr(django_settings, "RABBITMQ_USER", None) or "guest",
        password=getattr(django_settings, "RABBITMQ_PASSWORD", None) or "guest",
        vhost=getattr(django_settings, "RABBITMQ_VHOST", None) or "/",
        tls=TLS(**tls_files()) if tls else None,
    )


def tls_files() -> dict[str, Any]:
    """Return the arguments of `TLS` that are configured, whether or not TLS is on."""
    configured = {name: getattr(django_settings, setting, None) for name, setting in TLS_SETTINGS.items()}
    return {name: value for name, value in configured.items() if value}
