"""Sessions for tests, begun without a password: hashing one takes a third of a second, and tests want many."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from asgiref.sync import sync_to_async

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models.users import lock_user
from ninja_auth_kit.services import TokenPair
from ninja_auth_kit.services.sessions import custom_claims, insert_session, new_session


def issue_tokens(user: Any, *, ip_address: str | None = "127.0.0.1", user_agent: str = "tests") -> TokenPair:
    """Begin a session as a login does, within `SESSION_LIMIT` and with its event, and return its tokens.

    Neither the password nor the address of the user is looked at.

    Args:
        user: whose; stored.
        ip_address: where the session is said to come from.
        user_agent: in which browser.

    Raises:
        ValueError: the user is not stored.
        SessionLimitReachedError: there is no place, and `SESSION_LIMIT_POLICY` is "reject".
    """
    client = ClientInfo(ip_address=ip_address, user_agent=user_agent)
    with atomic():
        current = lock_user(user.pk)
        if current is None:
            raise ValueError("The user is not in the database: save it first.")
        session = new_session(user=current, client=client)
        return insert_session(session, user=current, claims=custom_claims(session), client=client)


def auth_headers(user: Any) -> dict[str, str]:
    """Return the headers of a request in a new session of a user.

        client.get("/api/notes", headers=auth_headers(user))

    Args:
        user: whose; see `issue_tokens`.
    """
    return _headers(issue_tokens(user))


def acting_as(client: Any, user: Any) -> "ActingAs":
    """Let every request of a client be one of a user's session, for the length of a `with` or `async with`.

        with acting_as(client, user) as tokens:
            client.get("/api/notes")

    Args:
        client: Django's `Client` or `AsyncClient`, or Ninja's `TestClient` or `TestAsyncClient`.
        user: whose; see `issue_tokens`.
    """
    return ActingAs(client, user)


class ActingAs:
    """What `acting_as` returns: entering it begins the session and gives its `TokenPair`."""

    def __init__(self, client: Any, user: Any) -> None:
        self._client, self._user = client, user
        self._sent: AbstractContextManager[None] | None = None

    def __enter__(self) -> TokenPair:
        tokens = issue_tokens(self._user)
        self._sent = _sending(self._client, _headers(tokens))
        self._sent.__enter__()
        return tokens

    def __exit__(self, *error: Any) -> None:
        if self._sent is not None:
            self._sent.__exit__(*error)

    async def __aenter__(self) -> TokenPair:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, *error: Any) -> None:
        self.__exit__(*error)


def _headers(tokens: TokenPair) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.access_token}"}


@contextmanager
def _sending(client: Any, ours: dict[str, str]) -> Iterator[None]:
    if not hasattr(client, "generic"):  # Ninja's clients, which have no defaults but these
        with patch.object(client, "headers", {**client.headers, **ours}):
            yield
        return
    generic = client.generic

    def with_ours(*args: Any, headers: dict[str, str] | None = None, **extra: Any) -> Any:
        return generic(*args, headers={**ours, **(headers or {})}, **extra)

    with patch.object(client, "generic", with_ours):
        yield
