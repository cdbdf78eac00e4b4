"""Generate errors.md: every code and its status, from the error classes and the table of statuses."""

import inspect

from docs.generators.features import COMMON
from ninja_auth_kit import features
from ninja_auth_kit.api.errors import STATUSES, status_of
from ninja_auth_kit.exceptions import AuthKitError

INTRODUCTION = """\
# Errors

Every error of the kit is a problem as defined by [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457).
The content type is `application/problem+json`:

```json
{
  "type": "about:blank",
  "title": "Unauthorized",
  "status": 401,
  "detail": "The session has ended. Log in again.",
  "code": "session_ended"
}
```

- `code` is for programs. It is never translated.
- `detail` is for people, in the language of the request.
- A 422, and a 400 for a body that has a field twice, also have `errors`, a list of `{"field", "code", "message"}`.
  `field` is the name of the field, or an empty string for the whole body.
- A 401 has the header `WWW-Authenticate: Bearer`. If a token was rejected, it also has `error="invalid_token"`.
- A 429 has the header `Retry-After` and the member `retry_after`: the exact number of seconds to wait.
  A script of another origin can read the header only if [CORS](howto/cors.md) exposes it.
- No response repeats a value that the client sent.
  The name of an unknown field is repeated if it looks like a name: at most 32 ASCII letters, digits, `_`, `-` and `.`.
  Only the first five unknown fields are named.

In Python, each error is a class that derives from `AuthKitError`.
The services raise the classes of `ninja_auth_kit.exceptions`, which do not depend on HTTP.
The services of an optional app also raise those of its own module `exceptions`, and those of second factors the classes of `ninja_auth_kit.contrib.factors.exceptions`.

Your own APIs answer these errors in the same way, including those of `JWTAuth`, unless you have added an exception handler for one of their base classes.
[Guard your routes](howto/guarded-routes.md#what-a-rejected-request-gets) has the details.
With `install`, an unknown path gets the 404 of your project.
With `include`, an unknown path below the prefix gets a 404 with a problem body, unless another pattern of your project matches it.

In OpenAPI, the bodies are the components `AuthProblem`, `AuthMalformedBodyProblem` (400), `AuthValidationProblem` (422) and `AuthThrottledProblem` (429), so that a generated client has one class for each.
The examples of a response list every code that it can have.

| status | code | class | description |
|--:|---|---|---|
"""


def page() -> str:
    """Return the page."""
    features.routers()  # importing them adds their errors
    kinds = sorted(STATUSES, key=lambda kind: (status_of(kind), kind.code, kind.__name__))
    rows = [f"| {status_of(kind).value} | `{kind.code}` | `{kind.__name__}` | {_first_line(kind)} |" for kind in kinds]
    common = ", ".join(f"{status} `{code}`" for status, code in sorted(COMMON))
    return (
        INTRODUCTION
        + "\n".join(rows)
        + f"\n\nThe pages of the features do not list the errors that most endpoints have in common: {common}.\n"
    )


def _first_line(kind: type[AuthKitError]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
