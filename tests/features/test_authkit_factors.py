"""`authkit_factors`: the second factors of a user, and their removal if the user has lost them."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection

from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode, RememberedDevice
from ninja_auth_kit.contrib.totp.models import TotpSecret
from tests.conftest import EMAIL, Api, events
from tests.features.conftest import Enrolled

pytestmark = pytest.mark.django_db(transaction=True)


def factors(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_factors", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("name", ["the address", "the username", "the primary key", "--key"])
def test_after_a_reset_the_password_is_enough_whatever_name_is_given(
    api: Api, enrolled: Enrolled, name: str, audited: None
) -> None:
    user = enrolled.user
    names = {"the address": [EMAIL.upper()], "the username": [user.get_username()], "the primary key": [str(user.pk)]}
    mail.outbox.clear()

    said = factors("reset", *names.get(name, [f"--key={user.pk}"]))

    assert said == (
        f"Removed 1 second factor (totp) of user {user.pk}, with the recovery codes and remembered devices.\n"
    )
    assert (Factor.objects.count(), TotpSecret.objects.count(), RecoveryCode.objects.count()) == (0, 0, 0)
    assert api.login().status_code == 200
    (event,) = [event for event in events() if event["type"] == "ninja-auth-kit.factor.reset.v1"]
    assert (event["authtype"], event["data"]["details"]) == ("system", {"kinds": ["totp"]})
    assert event["subject"] == f"user/{user.pk}"
    assert [(sent.to, "were removed" in sent.subject) for sent in mail.outbox] == [([EMAIL], True)]


def test_a_reset_takes_the_level_from_the_sessions_and_ends_none(api: Api, enrolled: Enrolled) -> None:
    factors("reset", EMAIL)

    assert api.is_in(enrolled.token)
    assert api.post("factors/totp", {}, token=enrolled.token).status_code == 201, "the user may add a new factor"
    refreshed = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()
    assert refreshed["acr"] == "aal1"


def test_a_second_reset_does_nothing(enrolled: Enrolled, audited: None) -> None:
    factors("reset", EMAIL)
    before = len(events())
    mail.outbox.clear()

    assert factors("reset", EMAIL) == f"User {enrolled.user.pk} has no second factor.\n"
    assert json.loads(factors("reset", EMAIL, "--json")) == {
        "user": str(enrolled.user.pk),
        "removed": True,
        "kinds": [],
    }
    assert (len(events()), mail.outbox) == (before, [])


def test_a_dry_run_removes_nothing(api: Api, enrolled: Enrolled, audited: None) -> None:
    mail.outbox.clear()

    said = factors("reset", EMAIL, "--dry-run")

    assert said.startswith("Would remove 1 second factor (totp) of user ")
    assert json.loads(factors("reset", EMAIL, "--dry-run", "--json"))["removed"] is False
    assert api.login().status_code == 202
    assert [event for event in events() if event["type"] == "ninja-auth-kit.factor.reset.v1"] == []
    assert mail.outbox == []


def test_the_list_has_factors_codes_and_devices_and_no_secret(
    api: Api, enrolled: Enrolled, kit: Callable[..., None], pend: Callable[..., str]
) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)})
    body = {"challenge_token": pend(), "code": enrolled.app.code(), "remember_device": True}
    device_token = api.post("login/totp", body).json()["device_token"]

    listed = factors("list", EMAIL)
    as_json = json.loads(factors("list", EMAIL, "--json"))

    assert listed.startswith(f"User {enrolled.user.pk}: 1 second factor\n  totp  'my phone'  last used: 20")
    assert listed.endswith("10 recovery codes left, 1 remembered device\n")
    assert (as_json["recovery_codes_left"], as_json["devices"]) == (10, 1)
    (factor,) = as_json["factors"]
    assert (factor["id"], factor["kind"], factor["name"]) == (enrolled.factor_id, "totp", "my phone")
    for secret in (device_token, enrolled.codes[0], TotpSecret.objects.get().secret):
        assert secret not in listed + json.dumps(as_json)
    assert RememberedDevice.objects.count() == 1


def test_the_list_of_a_user_without_a_factor(user: Any) -> None:
    said = factors("list", EMAIL)

    assert said == f"User {user.pk}: 0 second factors\n0 recovery codes left, 0 remembered devices\n"


@pytest.mark.parametrize("action", ["list", "reset"])
def test_an_unknown_user_is_an_error_and_so_is_no_user(user: Any, action: str) -> None:
    for name in ("nobody@example.com", "nobody", "0"):
        with pytest.raises(CommandError, match="No user has this email address"):
            factors(action, name)
    with pytest.raises(CommandError, match="No user has this primary key"):
        factors(action, "--key=0")
    with pytest.raises(CommandError, match="required"):
        factors(action)
    with pytest.raises(CommandError, match="required"):
        factors()


@pytest.mark.one_user_model
def test_a_name_that_two_users_have_removes_nothing(enrolled: Enrolled, make_user: Callable[..., Any]) -> None:
    make_user("grace@example.com", username=str(enrolled.user.pk))

    with pytest.raises(CommandError, match=r"Several users match\. Choose one with --key=KEY"):
        factors("reset", str(enrolled.user.pk))
    assert Factor.objects.count() == 1


def test_without_the_tables_the_operator_gets_a_sentence(user: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ninja_auth_kit_factors_factor RENAME TO elsewhere")
    try:
        with pytest.raises(CommandError, match="migrate"):
            factors("list", EMAIL)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ninja_auth_kit_factors_factor")
