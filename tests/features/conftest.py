"""Users with second factors. These tests have a pass of their own: see tox.ini."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyotp
import pytest
import time_machine
from django.utils import timezone

from ninja_auth_kit import features
from tests.conftest import EMAIL, PASSWORD, Api

IS_INSTALLED = os.environ["DJANGO_SETTINGS_MODULE"].startswith("tests.settings_features")
# Without the apps, none of these tests can be imported.
_OTHERS = [str(path) for path in Path(__file__).parent.iterdir() if path != Path(__file__)]
collect_ignore = [] if IS_INSTALLED else _OTHERS


class Authenticator:
    """An authenticator app: it shows the code of the present time."""

    def __init__(self, secret: str) -> None:
        self.secret, self._totp = secret, pyotp.TOTP(secret)

    def code(self, *, steps: int = 0) -> str:
        """Return the code of a time step from now."""
        return self._totp.at(timezone.now(), counter_offset=steps)

    def wrong_code(self) -> str:
        """Return six digits that are no code of this time."""
        right = {self.code(steps=steps) for steps in range(-3, 4)}
        return next(digits for digits in ("000000", "111111", "222222", "333333") if digits not in right)


class Enrolled:
    """A user with an authenticator app, the recovery codes, and the tokens of the session that enrolled it."""

    def __init__(self, user: Any, app: Authenticator, answer: dict[str, Any]) -> None:
        self.user, self.app = user, app
        self.codes: list[str] = answer["recovery_codes"]
        self.tokens: dict[str, Any] = answer["tokens"]
        self.factor_id: str = answer["factor"]["id"]

    @property
    def token(self) -> str:
        return str(self.tokens["access_token"])


def enrol(api: Api, token: str, name: str = "my phone") -> tuple[Authenticator, Any]:
    """Add and confirm an authenticator app, and return it with the answer to its confirmation.

    The code is of the time step before, so that the present one can still be used.
    """
    begun = api.post("factors/totp", {"name": name}, token=token)
    assert begun.status_code == 201, begun.content
    app = Authenticator(begun.json()["secret"])
    confirmed = api.post(f"factors/totp/{begun.json()['id']}/confirm", {"code": app.code(steps=-1)}, token=token)
    return app, confirmed


@pytest.fixture
def enrolled(api: Api, user: Any) -> Enrolled:
    """Return a user who has an authenticator app."""
    app, confirmed = enrol(api, api.pair()["access_token"])
    assert confirmed.status_code == 200, confirmed.content
    return Enrolled(user, app, confirmed.json())


@pytest.fixture
def pend(api: Api) -> Callable[..., str]:
    """Return a function that logs in with the password, and returns the challenge of the pending login."""

    def login(email: str = EMAIL, password: str = PASSWORD) -> str:
        response = api.login(email, password)
        assert response.status_code == 202, response.content
        return str(response.json()["challenge_token"])

    return login


@pytest.fixture
def later() -> Any:
    """Return a function that lets time pass, in seconds, in a `with` block."""

    def travel(seconds: float) -> Any:
        return time_machine.travel(timezone.now().timestamp() + seconds, tick=True)

    return travel


def finish(api: Api, challenge: str, code: str, **more: Any) -> Any:
    """Complete a pending login with a code of the authenticator app."""
    return api.post("login/totp", {"challenge_token": challenge, "code": code, **more})


def finish_by_recovery_code(api: Api, challenge: str, code: str) -> Any:
    return api.post("login/recovery-code", {"challenge_token": challenge, "code": code})


def answer(response: Any) -> tuple[int, str | None]:
    """Return the status, and the code of the error if it is one."""
    return response.status_code, response.json()["code"] if response.status_code >= 400 else None


@pytest.fixture
def without_email_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no emailed code be a way in."""
    name = "ninja_auth_kit_email_code"
    monkeypatch.setitem(features._features, name, replace(features._features[name], has_way_in=None))


@pytest.fixture(autouse=True)
def _still(request: pytest.FixtureRequest) -> None:
    """Stop the time, unless other processes take part: a code must not expire between its display and its use."""
    if request.node.get_closest_marker("race") is None:
        request.getfixturevalue("clock")


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the time at the beginning of a time step. `shift` lets it pass, in seconds."""
    with time_machine.travel(int(time.time()) // 30 * 30, tick=False) as traveller:
        yield traveller
