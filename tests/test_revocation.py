"""`authkit_revoke`: ending the sessions of one user, or of all users."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from ninja_auth_kit.models import BlacklistedToken, UserSession
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, Api, events

pytestmark = pytest.mark.django_db(transaction=True)


def revoke(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_revoke", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.security("SES-22")
@pytest.mark.parametrize("name", ["the address", "the username", "the primary key"])
def test_a_user_is_out_on_the_next_request_whatever_name_is_given(
    api: Api, make_user: Callable[..., Any], audited: None, kit: Callable[..., None], name: str
) -> None:
    kit(SESSION_LIMIT=2)
    user, _ = make_user(), make_user("grace@example.com")
    pairs, other = [api.pair(), api.pair()], api.pair("grace@example.com")
    names = {"the address": EMAIL.upper(), "the username": user.get_username(), "the primary key": str(user.pk)}

    assert revoke(names[name], "--reason", "stolen_laptop") == f"User {user.pk}:\nEnded 2 sessions of 1 user.\n"

    for pair in pairs:
        assert not api.is_in(pair["access_token"])
        assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.is_in(other["access_token"])
    assert BlacklistedToken.objects.count() == 2
    revoked = [event for event in events() if event["type"] == "ninja-auth-kit.session.revoked.v1"]
    assert [event["data"]["reason"] for event in revoked] == ["stolen_laptop"] * 2
    assert {event["authtype"] for event in revoked} == {"system"}
    assert api.login().status_code == 200


@pytest.mark.security("SES-22")
def test_everybody_is_out_and_a_second_time_nobody_is_left(api: Api, make_user: Callable[..., Any]) -> None:
    for number in range(3):
        make_user(f"u{number}@example.com")
        api.login(f"u{number}@example.com")

    assert json.loads(revoke("--everyone", "--json")) == {"users": 3, "sessions": 3}
    assert not UserSession.objects.filter(is_active=True).exists()
    assert json.loads(revoke("--everyone", "--json")) == {"users": 0, "sessions": 0}


def test_who_is_nobody_is_told(user: Any) -> None:
    for name in ("nobody@example.com", "nobody", "0"):
        with pytest.raises(CommandError, match="No user has this email address"):
            revoke(name)


@pytest.mark.parametrize("arguments", [[], [EMAIL, "--everyone"]])
def test_one_says_whom_and_only_once(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        revoke(*arguments)


@pytest.mark.parametrize("reason", ["", "two words", "ÄRGER", "x" * 41])
def test_a_reason_is_one_plain_word(user: Any, reason: str) -> None:
    with pytest.raises(CommandError, match="one word"):
        revoke(EMAIL, "--reason", reason)


def test_a_user_whom_the_default_manager_hides_is_revoked_too(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = get_user_model()._default_manager
    shown = manager.get_queryset
    pair = api.pair()
    with monkeypatch.context() as hidden:
        hidden.setattr(manager, "get_queryset", lambda: shown().none())
        assert json.loads(revoke("--everyone", "--json")) == {"users": 1, "sessions": 1}

    assert not api.is_in(pair["access_token"])


def test_a_name_that_is_another_users_key_picks_nobody(api: Api, make_user: Callable[..., Any]) -> None:
    if not has_username():
        pytest.skip("the user model has no username")
    victim = make_user()
    make_user("mallory@example.com", username=str(victim.pk))
    api.login()

    with pytest.raises(CommandError, match="Several users match"):
        revoke(str(victim.pk))

    assert "1 session of 1 user" in revoke("--key", str(victim.pk))
    assert not UserSession.objects.filter(user=victim, is_active=True).exists()
    with pytest.raises(CommandError, match="No user has this primary key"):
        revoke("--key", "nobody")
