"""Times in responses and events, in a project that stores local times (`USE_TZ = False`)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.utils import timezone
from ninja import Schema
from pydantic import ConfigDict
from pytest_django import Settings

from ninja_auth_kit import services
from ninja_auth_kit.api.schemas import UserOut
from tests.conftest import PASSWORD, Api, events

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_django]

SOON = timedelta(minutes=2)
FAR_FROM_UTC = ["Pacific/Kiritimati", "America/St_Johns", "Pacific/Pago_Pago"]


class Stay(Schema):
    """A part of the user of a project."""

    until: datetime


class Guest(UserOut):
    """The user of a project, with datetimes of its own, which cannot be assigned."""

    model_config = ConfigDict(frozen=True)

    seen: datetime
    stays: list[Stay]
    by_name: dict[str, datetime]

    @staticmethod
    def resolve_seen(user: Any) -> datetime:
        return timezone.now()

    @staticmethod
    def resolve_stays(user: Any) -> list[dict[str, datetime]]:
        return [{"until": timezone.now()}]

    @staticmethod
    def resolve_by_name(user: Any) -> dict[str, datetime]:
        return {"first": timezone.now()}


@pytest.fixture(params=FAR_FROM_UTC)
def local_times(request: pytest.FixtureRequest, settings: Settings) -> None:
    settings.TIME_ZONE = request.param
    settings.USE_TZ = False


def is_now(text: str) -> bool:
    """Return whether a text is the present moment in the format of RFC 3339, with an offset."""
    moment = datetime.fromisoformat(text)
    return moment.tzinfo is not None and abs(moment - datetime.now(UTC)) < SOON


def test_every_time_in_a_response_has_an_offset(local_times: None, api: Api, user: Any) -> None:
    pair = api.pair()
    refreshed = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()

    (session,) = api.get("sessions", token=refreshed["access_token"]).json()
    me = api.get("me", token=refreshed["access_token"]).json()

    assert is_now(session["login_time"])
    assert is_now(session["last_seen"])
    assert is_now(me["last_login"])
    assert me["date_joined"] is None or is_now(me["date_joined"])


def test_a_schema_of_the_project_answers_with_offsets_too(
    local_times: None, host_api: Callable[..., Api], user: Any
) -> None:
    api = host_api(USER_SCHEMA=f"{__name__}.Guest")

    me = api.get("me", token=api.pair()["access_token"]).json()

    assert is_now(me["seen"])
    assert is_now(me["stays"][0]["until"])
    assert is_now(me["by_name"]["first"])


def test_events_carry_times_in_utc(local_times: None, api: Api, user: Any, audited: None) -> None:
    api.pair()
    api.login(password="wrong" + PASSWORD)

    times = [event["time"] for event in events()]

    assert len(times) >= 2
    assert all(time.endswith("Z") and is_now(time) for time in times)


def test_lifetimes_are_as_long_as_elsewhere(local_times: None, api: Api, user: Any) -> None:
    pair = api.pair()
    assert pair["refresh_expires_in"] == 7 * 86_400

    for age, status in ((timedelta(seconds=9), 200), (timedelta(days=8), 401)):
        with time_machine.travel(datetime.now(UTC) + age):
            assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == status
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        assert api.get("me", token=pair["access_token"]).json()["code"] == "token_expired"


@pytest.fixture(params=[None, "Asia/Kolkata"])
def database_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the connection have a time zone of its own (`DATABASES["default"]["TIME_ZONE"]`), and return its name."""

    def set_zone(name: str | None) -> None:
        connection = connections["default"]
        connection.close()
        connection.settings_dict["TIME_ZONE"] = name
        for known in ("timezone", "timezone_name"):
            vars(connection).pop(known, None)

    set_zone(request.param)
    yield request.param or "UTC"
    set_zone(None)


def test_the_times_of_a_checked_session_are_those_of_the_orm(database_zone: str, api: Api, user: Any) -> None:
    session = services.check_access_token(api.pair()["access_token"])

    session_of_orm = type(session)._default_manager.get(pk=session.pk)
    user_of_orm = type(session.user)._default_manager.get(pk=session.user.pk)
    assert str(session.login_time.tzinfo) == database_zone
    assert repr(session.login_time) == repr(session_of_orm.login_time)
    assert repr(session.user.last_login) == repr(user_of_orm.last_login)


def test_the_local_times_of_a_checked_session_are_those_of_the_orm(local_times: None, api: Api, user: Any) -> None:
    session = services.check_access_token(api.pair()["access_token"])

    assert session.login_time.tzinfo is None
    assert session.login_time == type(session)._default_manager.get(pk=session.pk).login_time
