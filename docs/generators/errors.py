"""errors.md: every code, its status and its words, from the classes and the table of statuses."""

import inspect

from ninja_auth_kit.api.errors import STATUSES, status_of
from ninja_auth_kit.api.openapi import ALWAYS, WITH_BODY
from ninja_auth_kit.exceptions import AuthKitError

INTRODUCTION = """\
# Errors

Every error of the kit is a problem of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457), `application/problem+json`:

```json
{
  "type": "about:blank",
  "title": "Unauthorized",
  "status": 401,
  "detail": "The session has ended. Log in again.",
  "code": "session_ended"
}
```

Programs look at `code`, which is never translated; `detail` is for people and comes in their language. A 422 has `errors` too, a
list of `{"field", "code", "message"}`. What was sent is never in an answer. A 401 has `WWW-Authenticate: Bearer`, with
`error="invalid_token"` where a token was sent, and a 429 a `Retry-After` in seconds that is true. In Python each is a class of
`ninja_auth_kit.exceptions`, below `AuthKitError`, and knows no HTTP.

On your own API `ninja_auth_kit.install(api, ...)` answers them so too, those of `JWTAuth` among them. Where the kit is mounted by `include`,
`ninja_auth_kit.add_error_handlers(api)` does that for an API of yours.

| status | code | class | when |
|--:|---|---|---|
"""


def page() -> str:
    """Return the page."""
    kinds = sorted(STATUSES, key=lambda kind: (status_of(kind), kind.code, kind.__name__))
    rows = [f"| {status_of(kind).value} | `{kind.code}` | `{kind.__name__}` | {_first_line(kind)} |" for kind in kinds]
    common = ", ".join(sorted({f"{status_of(kind).value} `{kind.code}`" for kind in (*ALWAYS, *WITH_BODY)}))
    return (
        INTRODUCTION
        + "\n".join(rows)
        + f"\n\nThe pages of the features leave out what any request may get: {common}.\n"
    )


def _first_line(kind: type[AuthKitError]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
