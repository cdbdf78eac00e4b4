"""Requests for codes, and the two kinds of user models."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from ninja_auth_kit.contrib.email_code.testing import emailed_code
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, Api

NAME = "countess"
WRONG = "BBBB-BBBB"


def ask(api: Api, email: str = EMAIL) -> str:
    """Request a code, and return the challenge."""
    response = api.post("login/email-code/request", {"email": email})
    assert response.status_code == 202, response.content
    return str(response.json()["challenge_token"])


def ask_and_read(api: Api, email: str = EMAIL) -> tuple[str, str]:
    """Request a code, and return the challenge and the code from the email."""
    before = len(mail.outbox)
    challenge = ask(api, email)
    assert len(mail.outbox) == before + 1
    return challenge, emailed_code()


def log_in(api: Api, challenge: str, code: str, **more: Any) -> Any:
    return api.post("login/email-code", {"challenge_token": challenge, "code": code, **more})


def sign_up(api: Api, challenge: str, code: str, username: str = NAME) -> Any:
    """Log in with a code that registers; if users have a username, choose one. Return the last answer."""
    response = log_in(api, challenge, code)
    if not has_username():
        return response
    assert response.status_code == 202, response.content
    assert response.json()["status"] == "username_required"
    return api.post("login/email-code/signup", {"signup_token": response.json()["signup_token"], "username": username})


def answer(response: Any) -> tuple[int, str | None]:
    """Return the status, and the code of the error if it is one."""
    return response.status_code, response.json()["code"] if response.status_code >= 400 else None


@pytest.fixture(autouse=True)
def by_default(kit: Callable[..., None]) -> None:
    """Let the settings of the app have their defaults."""
    kit(EMAIL_CODE={})


@pytest.fixture
def registering(by_default: None, kit: Callable[..., None]) -> None:
    kit(EMAIL_CODE={"REGISTERS": True})
