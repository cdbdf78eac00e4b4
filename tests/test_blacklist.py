"""The blacklist: one row per session that was revoked before its expiry, and no row per refresh."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from ninja_auth_kit.models import BlacklistedToken, UserSession
from ninja_auth_kit.tokens import read_refresh_token, refresh_token_digest
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)


def is_blacklisted(token: str) -> bool:
    user_id = UserSession.objects.get(pk=read_refresh_token(token).session_id).user_id
    return BlacklistedToken.objects.filter(token=refresh_token_digest(token, user_id=user_id)).exists()


def logout(api: Api, pair: dict[str, Any]) -> None:
    api.post("logout", {"refresh_token": pair["refresh_token"]})


def login_elsewhere(api: Api, pair: dict[str, Any]) -> None:
    api.login()


def revoke(api: Api, pair: dict[str, Any]) -> None:
    api.delete(f"sessions/{pair['session_id']}", token=pair["access_token"])


def log_out_everywhere(api: Api, pair: dict[str, Any]) -> None:
    api.post("logout/all", token=pair["access_token"])


@pytest.mark.parametrize("withdraw", [logout, login_elsewhere, revoke, log_out_everywhere])
def test_whatever_ends_a_session_withdraws_its_refresh_token(
    api: Api, user: Any, withdraw: Callable[[Api, dict[str, Any]], None]
) -> None:
    pair = api.pair()
    assert not is_blacklisted(pair["refresh_token"])

    withdraw(api, pair)

    assert is_blacklisted(pair["refresh_token"])
    assert BlacklistedToken.objects.count() == 1


def test_reuse_withdraws_the_newest_token(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        pair = api.pair()
        successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
        clock.shift(timedelta(minutes=1))

        api.post("refresh", {"refresh_token": pair["refresh_token"]})

    assert is_blacklisted(successor["refresh_token"])


@pytest.mark.security("SES-22")
def test_a_hundred_refreshes_add_no_row_anywhere(api: Api, user: Any) -> None:
    token = api.pair()["refresh_token"]

    for _ in range(100):
        token = api.post("refresh", {"refresh_token": token}).json()["refresh_token"]

    assert BlacklistedToken.objects.count() == 0
    assert UserSession.objects.count() == 1
