"""`ninja_auth_kit.contrib.totp.testing`: a user with an authenticator app, without the API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from ninja_auth_kit.contrib.totp.testing import enrol_totp, totp_code
from tests.conftest import Api, event_names

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_user_logs_in_with_the_code_and_steps_up_with_the_next_one(
    api: Api, user: Any, pend: Callable[..., str], audited: None
) -> None:
    codes = enrol_totp(user, name="my phone")
    assert (len(set(codes)), event_names(), mail.outbox) == (10, [], [])

    done = api.post("login/totp", {"challenge_token": pend(), "code": totp_code(user)})
    assert done.status_code == 200
    token = done.json()["access_token"]
    assert api.post("step-up/totp", {"code": totp_code(user)}, token=token).status_code == 200
    (factor,) = api.get("factors", token=token).json()["factors"]
    assert (factor["kind"], factor["name"]) == ("totp", "my phone")


def test_the_recovery_codes_work(api: Api, user: Any, pend: Callable[..., str]) -> None:
    codes = enrol_totp(user)

    done = api.post("login/recovery-code", {"challenge_token": pend(), "code": codes[0]})

    assert (done.status_code, done.json()["recovery_codes_left"]) == (200, 9)


def test_the_code_of_the_newest_app_is_returned(api: Api, user: Any, pend: Callable[..., str]) -> None:
    enrol_totp(user)
    first = totp_code(user)
    enrol_totp(user)

    assert totp_code(user) != first
    assert api.post("login/totp", {"challenge_token": pend(), "code": totp_code(user)}).status_code == 200


def test_when_all_present_codes_were_used_time_must_pass(
    api: Api, user: Any, pend: Callable[..., str], later: Callable[..., Any]
) -> None:
    enrol_totp(user)
    start = 30 - timezone.now().timestamp() % 30  # the start of a time step
    with later(start):
        for _ in range(2):
            assert api.post("login/totp", {"challenge_token": pend(), "code": totp_code(user)}).status_code == 200
        with pytest.raises(ValueError, match="Let 30 seconds pass"):
            totp_code(user)
    with later(start + 31):
        assert api.post("login/totp", {"challenge_token": pend(), "code": totp_code(user)}).status_code == 200


def test_a_user_without_an_app_has_no_code(user: Any) -> None:
    with pytest.raises(ValueError, match="Call enrol_totp"):
        totp_code(user)
