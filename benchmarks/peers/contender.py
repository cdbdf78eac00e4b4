"""What a contender is: settings, URLs, and the request of each operation."""

import json
from dataclasses import dataclass, field
from typing import Any

EMAIL, USERNAME, PASSWORD = "ada@example.com", "ada", "a long walk in the hills"


@dataclass(frozen=True)
class Request:
    """One request: what goes over the wire."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The body as bytes."""
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Tokens:
    """What a login or a refresh gives."""

    access: str
    refresh: str = ""


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that shows a token."""
    return {"Authorization": f"{scheme} {token}"}


class Contender:
    """A minimal Django project with one package. Those that derive from it say what is different.

    Attributes:
        title: what stands in the table.
        apps: INSTALLED_APPS, beside `django.contrib.auth` and `contenttypes`.
        settings: what else the package wants, as its documentation advises.
        statements: how many statements and transaction statements each operation sends, by its name; a contender that
            sends another number is crippled or misunderstood, and nothing is measured.
        purge_command: the management command that deletes what has expired; none without.
        checks: whether an access token counts only while its session does, said in the table.
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
        """Make the user."""
        from django.contrib.auth import get_user_model

        get_user_model().objects.create_user(USERNAME, EMAIL, PASSWORD)

    def is_done(self, request: Request, status: int) -> bool:
        """Tell whether an answer is that of a success."""
        return status < 300

    def login(self) -> Request:
        """Return the request of a login."""
        raise NotImplementedError

    def tokens(self, answer: Any) -> Tokens:
        """Return the tokens in the answer to a login or a refresh."""
        return Tokens(answer["access"], answer.get("refresh", ""))

    def get(self, tokens: Tokens) -> Request:
        """Return an authenticated request that answers with the name of the user."""
        return Request("GET", "/api/who", headers=bearer(tokens.access))

    def refresh(self, tokens: Tokens) -> Request | None:
        """Return the request of a refresh; None where there is none."""
        return None

    def purge(self) -> None:
        """Delete what has expired."""
        from django.core.management import call_command

        call_command(self.purge_command)

    def logout(self, tokens: Tokens) -> Request | None:
        """Return the request of a logout; None where there is none."""
        return None
