"""Sessions for tests, started without a password, because hashing one is slow."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from asgiref.sync import sync_to_async

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.levels import AAL1, AAL2
from ninja_auth_kit.models.users import lock_user
from ninja_auth_kit.services import TokenPair
from ninja_auth_kit.services.internal.finish_login import Proof, insert_session, new_session
from ninja_auth_kit.services.internal.session_tokens import custom_claims

_METHODS = {AAL1: frozenset({"pwd"}), AAL2: frozenset({"pwd", "otp"})}


def issue_tokens(
    user: Any, *, acr: str = AAL1, ip_address: str | None = "127.0.0.1", user_agent: str = "tests"
) -> TokenPair:
    """Start a session as a login does, and return its tokens.

    `SESSION_LIMIT` applies, and the login is recorded as an event. Neither the password nor the verification of the
    email address is checked.

    Args:
        user: a saved user.
        acr: the level of the login, "aal1" or "aal2", for routes with `JWTAuth(acr=...)`. No factor is needed.
        ip_address: the IP address that the session is started from.
        user_agent: the browser that the session is started in.

    Raises:
        ValueError: the user is not saved, or `acr` is not a level.
        SessionLimitReachedError: the user has reached `SESSION_LIMIT`, and `SESSION_LIMIT_POLICY` is "reject".
    """
    if acr not in _METHODS:
        raise ValueError(f"acr must be one of {', '.join(_METHODS)} (got {acr!r}).")
    client = ClientInfo(ip_address=ip_address, user_agent=user_agent)
    with atomic():
        current = lock_user(user.pk)
        if current is None:
            raise ValueError("The user is not in the database. Save the user first.")
        proof = Proof(_METHODS[acr])
        session = new_session(user=current, client=client, proof=proof)
        return insert_session(session, user=current, claims=custom_claims(session), client=client, proof=proof)


def auth_headers(user: Any, *, scheme: str = "Bearer", acr: str = AAL1) -> dict[str, str]:
    """Start a session, and return the headers of a request with its access token.

        client.get("/api/notes", headers=auth_headers(user))

    Args:
        user: a saved user; see `issue_tokens`.
        scheme: the scheme of the header, for routes with `JWTAuth(scheme=...)`.
        acr: as in `issue_tokens`.
    """
    return _headers(issue_tokens(user, acr=acr), scheme)


def acting_as(client: Any, user: Any, *, scheme: str = "Bearer", acr: str = AAL1) -> "ActingAs":
    """Start a session, and send its access token with every request of a client, in a `with` or `async with` block.

        with acting_as(client, user) as tokens:
            client.get("/api/notes")

    Args:
        client: Django's `Client` or `AsyncClient`, or Ninja's `TestClient` or `TestAsyncClient`.
        user: a saved user; see `issue_tokens`.
        scheme: the scheme of the header, for routes with `JWTAuth(scheme=...)`.
        acr: as in `issue_tokens`.
    """
    return ActingAs(client, user, scheme, acr)


class ActingAs:
    """The context manager that `acting_as` returns. Entering it starts the session and returns the `TokenPair`."""

    def __init__(self, client: Any, user: Any, scheme: str = "Bearer", acr: str = AAL1) -> None:
        self._client, self._user, self._scheme, self._acr = client, user, scheme, acr
        self._patch: AbstractContextManager[None] | None = None

    def __enter__(self) -> TokenPair:
        tokens = issue_tokens(self._user, acr=self._acr)
        self._patch = _with_headers(self._client, _headers(tokens, self._scheme))
        self._patch.__enter__()
        return tokens

    def __exit__(self, *error: Any) -> None:
        if self._patch is not None:
            self._patch.__exit__(*error)

    async def __aenter__(self) -> TokenPair:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, *error: Any) -> None:
        self.__exit__(*error)


def _headers(tokens: TokenPair, scheme: str) -> dict[str, str]:
    return {"Authorization": f"{scheme} {tokens.access_token}"}


@contextmanager
def _with_headers(client: Any, defaults: dict[str, str]) -> Iterator[None]:
    if not hasattr(client, "generic"):  # the test clients of Django Ninja have default headers
        with patch.object(client, "headers", {**client.headers, **defaults}):
            yield
        return
    generic = client.generic

    def generic_with_headers(*args: Any, headers: dict[str, str] | None = None, **extra: Any) -> Any:
        return generic(*args, headers={**defaults, **(headers or {})}, **extra)

    with patch.object(client, "generic", generic_with_headers):
        yield
