"""A former root secret can be removed: what is encrypted under it is encrypted again."""

import json
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from pytest_django import Settings

from ninja_auth_kit.contrib.factors.models import RecoveryCode
from ninja_auth_kit.contrib.passkeys.models import Passkey
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.services.diagnosis import REMOVED_ROOT
from tests.conftest import Api
from tests.features.conftest import Enrolled
from tests.features.passkeys.conftest import new_passkey, register

pytestmark = pytest.mark.django_db(transaction=True)

FORMER_IS_LISTED = {"alg": "HS256", "state": "verify-only"}


def locked_out() -> tuple[int, list[str]] | None:
    """Return what `authkit_doctor` says about root secrets that were removed: how many users, and their keys."""
    output = StringIO()
    with suppress(SystemExit):
        call_command("authkit_doctor", "--json", stdout=output)
    found = [one for one in json.loads(output.getvalue())["reasons"] if one["reason"] == "removed_root"]
    return (found[0]["count"], found[0]["users"]) if found else None


def rewrap(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_keys", "rewrap", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.security("TOTP-06")
def test_after_a_rewrap_codes_go_on_without_the_former_secret(
    api: Api, enrolled: Enrolled, settings: Settings, kit: Callable[..., None], pend: Callable[..., str]
) -> None:
    former = settings.JWT_SECRET_KEY
    stored = TotpSecret.objects.get().secret
    assert json.loads(rewrap("--json"))["authenticator apps"] == {"done": 0, "remaining": 0}

    settings.JWT_SECRET_KEY = former[::-1]
    kit(SIGNING_KEYS=[{**FORMER_IS_LISTED, "key": former}])

    assert "authenticator apps: 1 sealed again, 0 depend" in rewrap()
    assert json.loads(rewrap("--json")) == {
        "recovery codes": {"done": 0, "remaining": 10},
        "remembered devices": {"done": 0, "remaining": 0},
        "authenticator apps": {"done": 0, "remaining": 0},
        "passkeys": {"done": 0, "remaining": 0},
        "API keys": {"done": 0, "remaining": 0},
        "identities": {"done": 0, "remaining": 0},
    }
    assert TotpSecret.objects.get().secret != stored

    kit(SIGNING_KEYS=None)
    body = {"challenge_token": pend(), "code": enrolled.app.code()}
    assert api.post("login/totp", body).status_code == 200


def test_a_secret_whose_root_was_removed_is_counted_and_left(
    enrolled: Enrolled, settings: Settings, api: Api, pend: Callable[..., str]
) -> None:
    settings.JWT_SECRET_KEY = settings.JWT_SECRET_KEY[::-1]
    stored = TotpSecret.objects.get().secret

    assert json.loads(rewrap("--json"))["authenticator apps"] == {"done": 0, "remaining": 1}

    assert TotpSecret.objects.get().secret == stored
    refused = api.post("login/totp", {"challenge_token": pend(), "code": enrolled.app.code()})
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_factor")


def test_the_plan_of_a_rotation_says_when_to_rewrap(api: Api) -> None:
    output = StringIO()
    call_command("authkit_keys", "rotate", "--alg", "HS256", stdout=output)
    said = " ".join(output.getvalue().split())
    assert "authkit_keys rewrap" in said
    for kind in ("authenticator apps", "passkeys", "identities at providers", "recovery codes", "API keys"):
        assert kind.casefold() in said.casefold()


def test_the_doctor_names_the_remedy_for_each_kind() -> None:
    for kind in ("authenticator app", "passkey", "recovery codes", "API keys", "identities at providers"):
        assert kind in REMOVED_ROOT.text
    assert "unlink their identities in the admin" in REMOVED_ROOT.fix


@pytest.mark.security("TOTP-06")
@pytest.mark.parametrize("kind", ["totp", "passkey", "recovery_code"])
def test_the_doctor_lists_users_whose_factor_depends_on_a_root_secret_that_is_listed_no_more(
    api: Api,
    enrolled: Enrolled,
    make_user: Callable[..., Any],
    settings: Settings,
    kit: Callable[..., None],
    kind: str,
) -> None:
    make_user("grace@example.com")  # has no factor
    assert register(api, enrolled.token, new_passkey()).status_code == 201
    former = settings.JWT_SECRET_KEY
    settings.JWT_SECRET_KEY = former[::-1]
    kit(SIGNING_KEYS=[{**FORMER_IS_LISTED, "key": former}])
    assert locked_out() is None
    if kind != "passkey":
        Passkey.objects.all().delete()
    if kind != "totp":
        TotpSecret.objects.all().delete()
    if kind != "recovery_code":
        RecoveryCode.objects.all().delete()

    kit(SIGNING_KEYS=None)

    assert locked_out() == (1, [str(enrolled.user.pk)])
    get_user_model()._default_manager.filter(pk=enrolled.user.pk).update(is_active=False)
    assert locked_out() is None  # a disabled user is only counted as such
