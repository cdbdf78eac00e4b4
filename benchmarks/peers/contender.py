"""Define what a contender provides: settings, URLs, and the request of each operation."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

EMAIL, USERNAME, PASSWORD = "ada@example.com", "ada", "a long walk in the hills"


@dataclass(frozen=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_form: bool = False

    @property
    def data(self) -> bytes:
        """Return the body as bytes."""
        if self.body is None:
            return b""
        return (urlencode(self.body) if self.is_form else json.dumps(self.body)).encode()

    @property
    def content_type(self) -> str:
        """Return the type of the body, or "" without a body."""
        if self.body is None:
            return ""
        return "application/x-www-form-urlencoded" if self.is_form else "application/json"


@dataclass(frozen=True)
class Tokens:
    """The tokens in the response to a login or a refresh."""

    access: str
    refresh: str = ""


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"{scheme} {token}"}


class Contender:
    """A minimal Django project that uses one package. Subclasses define the differences.

    Attributes:
        title: the name in the tables.
        apps: INSTALLED_APPS, beside `django.contrib.auth` and `contenttypes`.
        settings: the settings that the documentation of the package recommends.
        statements: how many statements and transaction statements each operation sends, by its name.
            A different number means that the contender is misconfigured, and nothing is measured.
        purge_command: the management command that deletes expired rows, or "".
        checks: whether an access token is rejected once its session has ended; shown in the table.
    """

    title = ""
    apps: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    statements: dict[str, tuple[int, int]] = {}
    purge_command = ""
    checks = False

    def urlpatterns(self) -> list[Any]:
        """Return the URLs of the project."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Create the user."""
        from django.contrib.auth import get_user_model

        get_user_model().objects.create_user(USERNAME, EMAIL, PASSWORD)

    def is_done(self, request: Request, status: int) -> bool:
        """Return whether the status code is that of a successful response."""
        return status < 300

    def login(self) -> Request:
        """Return the request of a login."""
        raise NotImplementedError

    def tokens(self, answer: Any) -> Tokens:
        """Return the tokens in the response to a login or a refresh."""
        return Tokens(answer["access"], answer.get("refresh", ""))

    def get(self, tokens: Tokens) -> Request:
        """Return an authenticated request whose response is the name of the user."""
        return Request("GET", "/api/who", headers=bearer(tokens.access))

    def refresh(self, tokens: Tokens) -> Request | None:
        """Return the request of a refresh, or None if the package has no refresh."""
        return None

    def purge(self) -> None:
        """Delete expired rows."""
        from django.core.management import call_command

        call_command(self.purge_command)

    def logout(self, tokens: Tokens) -> Request | None:
        """Return the request of a logout, or None if the package has no logout."""
        return None
