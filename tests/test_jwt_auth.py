"""`JWTAuth` on the routes of a project."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.utils import OperationalError, ProgrammingError
from django.test import AsyncClient, RequestFactory
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.exceptions import InvalidTokenError, SessionEndedError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.users import user_by_pk
from ninja_auth_kit.services import check_access_token
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
GUARDED = ["/host/sync", "/host/async", "/plain/guarded", "/api/auth/me"]


@pytest.mark.parametrize("route", ["/host/sync", "/host/async"])
def test_a_live_session_gets_in_and_the_user_is_on_the_request(api: Api, user: Any, route: str) -> None:
    response = api.get(route, token=api.pair()["access_token"])

    assert response.status_code == 200
    assert response.json() == {"auth": str(user.pk), "user": str(user.pk)}


@pytest.mark.parametrize("route", ["/host/sync", "/host/async"])
def test_it_works_the_same_under_asgi(api: Api, user: Any, route: str) -> None:
    token = api.pair()["access_token"]

    async def get(header: str) -> Any:
        return await AsyncClient().get(route, headers={"Authorization": header})

    assert async_to_sync(get)(f"Bearer {token}").json() == {"auth": str(user.pk), "user": str(user.pk)}
    assert async_to_sync(get)("Bearer garbage").status_code == 401


@pytest.mark.security("SES-21")
def test_an_authenticated_request_costs_one_query(
    api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = api.pair()["access_token"]

    with django_assert_num_queries(1) as captured:
        assert api.get("/host/sync", token=token).status_code == 200

    assert captured.captured_queries[0]["sql"].startswith("SELECT")


def logout(api: Api, user: Any, pair: dict[str, Any]) -> None:
    api.post("logout", {"refresh_token": pair["refresh_token"]})


def log_in_elsewhere(api: Api, user: Any, pair: dict[str, Any]) -> None:
    api.login()


def disable_without_a_signal(api: Api, user: Any, pair: dict[str, Any]) -> None:
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)


def set_password_in_a_shell(api: Api, user: Any, pair: dict[str, Any]) -> None:
    user.set_password("set in a shell, without the kit")
    user.save()


def delete_by_sql(api: Api, user: Any, pair: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {get_user_model()._meta.db_table}")


def delete_by_the_orm(api: Api, user: Any, pair: dict[str, Any]) -> None:
    user.delete()


def let_the_session_expire(api: Api, user: Any, pair: dict[str, Any]) -> None:
    UserSession.objects.update(refresh_expires_at=timezone.now())


@pytest.mark.security("SES-13", "SES-14", "SES-15", "SES-16")
@pytest.mark.parametrize("route", GUARDED)
@pytest.mark.parametrize(
    "happen",
    [
        logout,
        log_in_elsewhere,
        disable_without_a_signal,
        set_password_in_a_shell,
        delete_by_sql,
        delete_by_the_orm,
        let_the_session_expire,
    ],
)
def test_whatever_ends_a_session_counts_on_the_very_next_request(
    api: Api, user: Any, happen: Callable[..., None], route: str
) -> None:
    pair = api.pair()
    assert api.get(route, token=pair["access_token"]).status_code == 200

    happen(api, user, pair)

    assert api.get(route, token=pair["access_token"]).status_code == 401


@pytest.mark.security("SES-21")
def test_a_right_that_is_taken_away_is_gone_on_the_very_next_request(
    api: Api, make_user: Callable[..., Any], rf: RequestFactory
) -> None:
    make_user(is_staff=True, is_superuser=True)
    headers = {"Authorization": f"Bearer {api.pair()['access_token']}"}

    def rights() -> tuple[bool, bool, bool]:
        user = JWTAuth()(rf.get("/", headers=headers))
        return user.is_staff, user.is_superuser, user.has_perm("auth.change_group")

    assert rights() == (True, True, True)

    get_user_model().objects.update(is_staff=False, is_superuser=False)

    assert rights() == (False, False, False)


@pytest.mark.security("HTTP-02")
@pytest.mark.parametrize("route", GUARDED)
def test_the_challenge_tells_a_missing_token_from_a_bad_one(api: Api, route: str) -> None:
    missing, bad = api.get(route), api.get(route, token="bad")

    assert missing.status_code == bad.status_code == 401
    assert missing["WWW-Authenticate"] == "Bearer"
    assert bad["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert missing.content == bad.content
    assert missing["Content-Type"] == "application/problem+json"


@pytest.mark.security("SES-21")
@pytest.mark.parametrize("route", GUARDED)
@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_a_database_that_does_not_answer_lets_nobody_in(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, route: str, error: type[Exception]
) -> None:
    token = api.pair()["access_token"]

    def fail(*_: Any, **__: Any) -> None:
        raise error("the database is unavailable")

    monkeypatch.setattr("ninja_auth_kit.models.compiled_query.CompiledQuery.fetch", fail)

    response = api.get(route, token=token)

    assert response.status_code == 503
    assert b"away" not in response.content


def test_the_stateless_choice_costs_no_query_until_the_user_is_used(
    api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pair = api.pair()
    api.post("logout", token=pair["access_token"])

    with django_assert_num_queries(0):
        assert api.get("/host/stateless", token=pair["access_token"]).status_code == 200
    with django_assert_num_queries(1):
        response = api.get("/host/stateless-user", token=pair["access_token"])

    assert response.json() == {"user": str(user.pk)}
    assert api.get("/host/stateless", token="bad").status_code == 401


def test_the_stateless_choice_gives_async_code_its_user(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]

    assert api.get("/host/stateless-async", token=token).json() == {"user": str(user.pk)}
    get_user_model().objects.update(is_active=False)
    assert api.get("/host/stateless-async", token=token).status_code == 401


def test_the_stateless_choice_still_refuses_a_disabled_user(api: Api, user: Any) -> None:
    pair = api.pair()
    get_user_model().objects.update(is_active=False)

    response = api.get("/host/stateless-user", token=pair["access_token"])

    assert (response.status_code, response.json()["code"]) == (401, "session_ended")


def test_the_user_is_a_real_one_with_every_field(api: Api, user: Any) -> None:
    pair = api.pair()

    session = UserSession.objects.load(UserSession.objects.get().pk)

    assert session is not None
    loaded = user_by_pk(user.pk)
    fields = [field.attname for field in get_user_model()._meta.concrete_fields]
    assert [getattr(session.user, name) for name in fields] == [getattr(loaded, name) for name in fields]
    again = UserSession.objects.get(pk=pair["session_id"])
    names = [field.attname for field in UserSession._meta.concrete_fields]
    assert [getattr(session, name) for name in names] == [getattr(again, name) for name in names]
    assert session.user.get_deferred_fields() == set()


def test_a_user_whom_the_default_manager_hides_from_now_on_does_not_get_in(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.pair()["access_token"]
    manager = get_user_model()._default_manager
    shown, hidden = manager.get_queryset, [""]
    monkeypatch.setattr(manager, "get_queryset", lambda: shown().exclude(email__in=hidden))
    assert api.get("/host/sync", token=token).status_code == 200

    hidden.append(user.email)

    assert api.get("/host/sync", token=token).status_code == 401


@pytest.mark.security("SES-13")
def test_the_check_that_a_host_can_call_gives_the_session_and_its_user_by_one_query(
    api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pair = api.pair()
    with django_assert_num_queries(1):
        session = check_access_token(pair["access_token"], with_email=True)
        assert session.user.authkit_email.verified_at is not None
    with django_assert_num_queries(1):
        assert check_access_token(pair["access_token"]).user == user

    assert str(session.pk) == pair["session_id"]
    with pytest.raises(InvalidTokenError):
        check_access_token(pair["refresh_token"])
    api.post("logout", token=pair["access_token"])
    with pytest.raises(SessionEndedError):
        check_access_token(pair["access_token"])
