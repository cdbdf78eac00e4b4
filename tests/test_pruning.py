"""`authkit_prune`: which rows it deletes and keeps, and that it does not disturb requests."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, ThrottleBucket, UserSession
from ninja_auth_kit.services import pruning
from tests.conftest import EMAIL, Api, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)


def prune(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_prune", *arguments, stdout=output)
    return output.getvalue()


def rows() -> dict[str, int]:
    models = (UserSession, BlacklistedToken, OneTimeToken, ThrottleBucket)
    return {model.__name__: model._base_manager.count() for model in models}


@pytest.fixture
def token_pair(api: Api, user: Any) -> dict[str, Any]:
    """Create two logins (one replaced), a link and a counter, and return the valid token pair."""
    api.login()
    pair = api.pair()
    api.post("password/reset", {"email": EMAIL})
    ThrottleBucket.objects.create(id=uuid.uuid4(), rule="login", hits=1, allowed=1, resets_at=timezone.now())
    return pair


@pytest.mark.security("SES-22")
def test_what_is_over_for_long_goes_and_what_lives_stays(api: Api, token_pair: dict[str, Any]) -> None:
    assert "ThrottleBucket: 1 deleted" in prune()
    assert rows() == {"UserSession": 2, "BlacklistedToken": 1, "OneTimeToken": 1, "ThrottleBucket": 0}
    assert api.is_in(token_pair["access_token"])

    with time_machine.travel(timezone.now() + timedelta(days=31)):
        prune()
        assert rows() == {"UserSession": 1, "BlacklistedToken": 0, "OneTimeToken": 0, "ThrottleBucket": 0}
    with time_machine.travel(timezone.now() + timedelta(days=61)):
        prune()
        assert not UserSession.objects.exists()
        assert "Nothing to prune." in prune()


@pytest.mark.security("SES-22")
def test_a_blacklisted_token_stays_as_long_as_its_session_could_live_whatever_is_asked_for(
    api: Api, token_pair: dict[str, Any]
) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=29)):
        prune("--keep", "0")

    assert BlacklistedToken.objects.count() == 1


@pytest.mark.security("SES-22")
def test_an_ended_session_stays_as_long_as_a_token_of_it_could_come_back_in_time(api: Api, user: Any) -> None:
    pair = api.pair()
    api.post("logout", {"refresh_token": pair["refresh_token"]})

    with time_machine.travel(timezone.now() + timedelta(days=6)):
        prune("--keep", "0")
        assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()["code"] == "session_ended"
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        prune("--keep", "0")
        assert not UserSession.objects.exists()


@pytest.mark.security("SES-22")
def test_reuse_is_still_found_after_pruning(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        pair = api.pair()
        newer = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
        clock.shift(timedelta(days=6))
        prune("--keep", "0")

        answer = api.post("refresh", {"refresh_token": pair["refresh_token"]})

        assert answer.json()["code"] == "token_reused"
        assert api.post("refresh", {"refresh_token": newer["refresh_token"]}).status_code == 401


@pytest.mark.security("CRED-17")
def test_a_link_that_a_login_voided_stays_void_after_pruning(api: Api, user: Any) -> None:
    api.post("password/reset", {"email": EMAIL})
    token = mailed_token()
    api.post("logout/all", token=api.pair()["access_token"])

    prune("--keep", "0")

    body = {"token": token, "new_password": "another horse, another battery"}
    assert api.post("password/reset/confirm", body).status_code == 400


def test_a_dry_run_counts_and_deletes_nothing(token_pair: dict[str, Any]) -> None:
    before = rows()
    expected = {**before, "PromisedEmail": 0, "ShadowRegistration": 0, "SpentTicket": 0, get_user_model().__name__: 0}

    with time_machine.travel(timezone.now() + timedelta(days=61)):
        counted = json.loads(prune("--dry-run", "--json"))

    assert counted == {"deleted": False, "rows": expected}
    assert rows() == before


def test_batches_add_up_and_are_told(token_pair: dict[str, Any]) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=61)):
        output = prune("--batch", "1", "--verbosity", "2")

    assert "UserSession: 1 so far\nUserSession: 2 so far\n" in output
    assert "UserSession: 2 deleted" in output
    assert set(rows().values()) == {0}


def test_a_locked_row_waits_for_the_next_time(token_pair: dict[str, Any]) -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor, time_machine.travel(timezone.now() + timedelta(days=61)):
            other.set_autocommit(False)
            cursor.execute(f"SELECT 1 FROM {UserSession._meta.db_table} WHERE is_active FOR UPDATE")
            prune()
            assert UserSession.objects.count() == 1
            other.rollback()
            prune()
            assert UserSession.objects.count() == 0
    finally:
        other.close()


@pytest.mark.race
def test_two_at_once_share_the_work_and_pass_over_a_counter_that_begins_anew() -> None:
    now = timezone.now()
    over = [
        ThrottleBucket(id=uuid.uuid4(), rule="x", hits=1, allowed=1, resets_at=now - timedelta(seconds=number))
        for number in range(2000)
    ]
    ThrottleBucket.objects.bulk_create(over)
    anew = over[::10]

    def work(_: int) -> int:
        deleted = sum(rows for _, rows in pruning.prune(keep=timedelta(0), batch=20))
        connection.close()
        return deleted

    def begin_anew() -> int:
        later = timezone.now() + timedelta(hours=1)
        begun = sum(ThrottleBucket.objects.filter(pk=bucket.pk).update(resets_at=later) for bucket in anew)
        connection.close()
        return begun

    with ThreadPoolExecutor(3) as threads:
        begun = threads.submit(begin_anew)
        deleted = sum(threads.map(work, range(2)))

    assert deleted + begun.result() == len(over)
    assert ThrottleBucket.objects.count() == begun.result()


@pytest.mark.parametrize("arguments", [["--keep", "-1"], ["--batch", "0"]])
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="--keep must be at least 0 and --batch at least 1"):
        prune(*arguments)
