"""A one-time token that is posted twice, as by a double click or by a client whose answer was lost."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)

NEW, OTHER = "a new passphrase for ada", "another passphrase for ada"
UNKNOWN = "nako_" + "x" * 43


def verification(api: Api, make_user: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    api.register()
    return "verify-email", {"token": mailed_token(), "password": PASSWORD}


def reset(api: Api, make_user: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    make_user()
    api.post("password/reset", {"email": EMAIL})
    return "password/reset/confirm", {"token": mailed_token(), "new_password": NEW}


def change(api: Api, make_user: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    make_user()
    access = api.pair()["access_token"]
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=access)
    return "email/change/confirm", {"token": mailed_token(0)}


@pytest.mark.security("VER-02")
@pytest.mark.parametrize("prepare", [verification, reset, change])
def test_a_second_post_is_answered_like_an_unknown_token_and_says_what_to_do(
    audited: None, api: Api, make_user: Callable[..., Any], prepare: Callable[..., tuple[str, dict[str, str]]]
) -> None:
    path, body = prepare(api, make_user)
    assert api.post(path, body).status_code in {200, 204}
    sent, done = len(mail.outbox), [name for name in event_names() if not name.endswith("_failed")]

    again = api.post(path, body)

    assert again.status_code == 400
    assert again.content == api.post(path, {**body, "token": UNKNOWN}).content
    assert "log in" in again.json()["detail"]
    assert len(mail.outbox) == sent
    assert [name for name in event_names() if not name.endswith("_failed")] == done


@pytest.mark.security("VER-02")
def test_a_second_post_with_another_password_does_not_claim_to_have_set_it(
    api: Api, make_user: Callable[..., Any]
) -> None:
    path, body = reset(api, make_user)
    api.post(path, body)

    assert api.post(path, {**body, "new_password": OTHER}).status_code == 400
    assert api.login(password=OTHER).status_code == 401
    assert api.login(password=NEW).status_code == 200
