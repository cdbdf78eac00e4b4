"""Users with passkeys, which a software authenticator makes."""

from typing import Any

import pytest

from ninja_auth_kit.contrib.passkeys.testing import FakePasskey
from tests.conftest import Api

ORIGIN = "http://localhost:8000"


def new_passkey(**attributes: Any) -> FakePasskey:
    """Return a passkey on a page of the project of the tests."""
    return FakePasskey(**{"origin": ORIGIN, **attributes})


def register(api: Api, token: str, passkey: FakePasskey, **members: Any) -> Any:
    """Add a passkey to the account of a token, and return the answer."""
    begun = api.post("factors/passkeys/options", token=token)
    assert begun.status_code == 200, begun.content
    credential = passkey.create(begun.json()["public_key"])
    body = {"challenge_token": begun.json()["challenge_token"], "credential": credential, **members}
    return api.post("factors/passkeys", body, token=token)


def begin(api: Api, challenge: str | None = None) -> dict[str, Any]:
    """Return the options of a login: without a name, or for a pending login."""
    begun = api.post("login/passkey/options", None if challenge is None else {"challenge_token": challenge})
    assert begun.status_code == 200, begun.content
    return dict(begun.json())


def finish(api: Api, begun: dict[str, Any], credential: Any, **members: Any) -> Any:
    """Send the credential of a login."""
    body = {"challenge_token": begun["challenge_token"], "credential": credential, **members}
    return api.post("login/passkey", body)


def login(api: Api, passkey: FakePasskey, challenge: str | None = None, **members: Any) -> Any:
    """Log in without a name, or complete a pending login, and return the answer."""
    begun = begin(api, challenge)
    return finish(api, begun, passkey.get(begun["public_key"]), **members)


def refusal(response: Any) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return response.status_code, response.json()["code"]


class Owner:
    """A user with a passkey, the recovery codes, and the tokens of the session that registered it."""

    def __init__(self, user: Any, passkey: FakePasskey, answer: dict[str, Any]) -> None:
        self.user, self.passkey = user, passkey
        self.codes: list[str] = answer["recovery_codes"]
        self.tokens: dict[str, Any] = answer["tokens"]
        self.factor_id: str = answer["factor"]["id"]

    @property
    def token(self) -> str:
        return str(self.tokens["access_token"])


@pytest.fixture
def owner(api: Api, user: Any) -> Owner:
    """Return a user who has a passkey."""
    passkey = new_passkey()
    registered = register(api, api.pair()["access_token"], passkey, name="my laptop")
    assert registered.status_code == 201, registered.content
    return Owner(user, passkey, registered.json())
