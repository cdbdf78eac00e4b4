"""settings.md: every key of `NINJA_AUTH_KIT`, with its default and what fits, from the code; the words are here."""

from datetime import timedelta
from typing import Any

from ninja_auth_kit.checks.rules import RULES
from ninja_auth_kit.conf import DEFAULT_THROTTLES, DEFAULTS

MEANINGS = {
    "JWT_ALGORITHM": "how `JWT_SECRET_KEY` signs access tokens",
    "SIGNING_KEYS": "keys that sign and verify access tokens, for [other services](verifying-tokens.md) and rotation; "
    "None: `JWT_SECRET_KEY` alone",
    "ISSUER": "`iss` of the access tokens and `source` of the events; verified exactly",
    "AUDIENCE": "`aud` of the access tokens; verified exactly",
    "ACCESS_TOKEN_LIFETIME": "how long an access token is good; who verifies by signature alone trusts it so long",
    "REFRESH_TOKEN_LIFETIME": "how long a session may idle; each refresh begins it anew",
    "SESSION_LIFETIME": "how long a session may last at all; nothing extends it",
    "REFRESH_GRACE_PERIOD": "how long the last refresh token may come again and get the same successor; 0 is strict",
    "SESSION_LIMIT": "how many sessions a user may have at once; None: any number",
    "SESSION_LIMIT_POLICY": "what a login beyond the limit does: it ends the oldest, or is refused with a 409",
    "REGISTRATION_OPEN": "whether anybody may register",
    "EMAIL_VERIFICATION_REQUIRED": "whether the address must be proved before a login",
    "EMAIL_VERIFICATION_REQUIRES_PASSWORD": "whether a link verifies only with the password of who registered",
    "EMAIL_VERIFICATION_LIFETIME": "how long a link that verifies is good",
    "PASSWORD_RESET_LIFETIME": "how long a link that resets the password is good",
    "BASE_URL": "scheme and host of the links in mails, and the path that Django is mounted below. None is "
    "`http://127.0.0.1:8000` with `DEBUG` and in tests, and an error without",
    "FRONTEND_URLS": "pages of yours for the links, by `verify_email`, `reset_password`, `change_email`; the token comes "
    "as `#token=…`. Without: the kit's own pages",
    "TRUSTED_PROXY_COUNT": "how many of the right-most hops in `X-Forwarded-For` are proxies of yours",
    "THROTTLES": "the limits, by name; `{}` switches them off",
    "REGISTRATION_SCHEMA": "dotted path of [a schema](extending.md) for registration",
    "PROFILE_SCHEMA": "dotted path of a schema: what `PATCH me` may change; None: nothing",
    "USER_SCHEMA": "dotted path of a schema: what `GET me` answers",
    "ACCESS_TOKEN_CLAIMS": "dotted path of a callable (user, session) that returns more claims",
    "AUDIT_EXCHANGE": "the exchange in RabbitMQ",
    "AUDIT_DECLARE": "whether the relay declares the exchange and the stream, or finds them",
    "AUDIT_EMBEDDED_RELAY": "whether web processes publish, in a thread; None: as `DEBUG`",
    "AUDIT_LISTEN": "whether `NOTIFY` wakes the relay; off behind a pooler in transaction mode",
    "AUDIT_DISABLED_TYPES": "events that are not wanted, by name or type",
    "AUDIT_IP": "how the caller's address stands in events",
}
PLAIN = """\
# Settings

Keys and brokers are plain settings of Django, the rest are keys of one dict. Everything is read when it is used, so
`override_settings` works; the kit never reads the environment. Annotate the dict and your editor completes and checks it:

```python
from ninja_auth_kit.conf import AuthKitSettings

NINJA_AUTH_KIT: AuthKitSettings = {"BASE_URL": "https://example.com"}
```

`manage.py check` [names](checks.md) a key that does not exist, with the one that you meant, and a value that does not fit.

| plain setting | default | |
|---|---|---|
| `JWT_SECRET_KEY` | required | the root secret: at least 32 random bytes, and not the `SECRET_KEY`. The first, without which nothing starts: \
`python -c "import secrets; print(secrets.token_urlsafe(64))"`; the next: `manage.py authkit_keys rotate --alg HS256` |
| `RABBITMQ_HOST` | None | where RabbitMQ is; a list or names with commas for several nodes. None: events are only logged |
| `RABBITMQ_PORT` | 5672, with TLS 5671 | |
| `RABBITMQ_USER`, `RABBITMQ_PASSWORD` | `"guest"` both | |
| `RABBITMQ_VHOST` | `"/"` | |
| `RABBITMQ_TLS` | False | encrypts, and verifies the certificate |

## NINJA_AUTH_KIT

Durations are a `timedelta`, or seconds as an int.

"""
HEADER = ["| key | default | it must be | what it is |", "|---|---|---|---|"]


def page() -> str:
    """Return the page."""
    return PLAIN + "\n".join(table(list(DEFAULTS), to="")) + "\n"


def table(keys: list[str], *, to: str) -> list[str]:
    """Return rows for some keys; `to` stands before links to other pages."""
    return [*HEADER, *(f"| `{key}` | {default(key)} | {RULES[key][1]} | {_meaning(key, to)} |" for key in keys)]


def default(key: str) -> str:
    """Return a default in the words of a person."""
    value: Any = DEFAULTS[key]  # type: ignore[literal-required]
    if value is DEFAULT_THROTTLES:
        return "`DEFAULT_THROTTLES`"
    return _duration(value) if isinstance(value, timedelta) else f"`{value!r}`"


def _meaning(key: str, to: str) -> str:
    return MEANINGS[key].replace("](", f"]({to}")


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    raise ValueError(value)
