"""The account: its data, and its deletion."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import ProtectedError
from pytest_django import DjangoAssertNumQueries

from ninja_auth_kit import signals
from ninja_auth_kit.models import BlacklistedToken, EmailAddress, OneTimeToken, UserSession
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token, users_have_names

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]


def test_me_is_the_user_of_the_token(api: Api, user: Any) -> None:
    response = api.get("me", token=api.pair()["access_token"])

    user.refresh_from_db()
    assert response.status_code == 200
    me = response.json()
    assert set(me) == {"id", "username", "email", "email_verified", "date_joined", "last_login"}
    assert me["id"] == str(user.pk)
    assert me["username"] == (user.username if users_have_names() else None)
    assert (me["email"], me["email_verified"]) == (EMAIL, True)
    assert me["last_login"] is not None


@pytest.mark.security("SES-21")
def test_me_costs_one_query(api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = api.pair()["access_token"]

    with django_assert_num_queries(1):
        api.get("me", token=token)


def test_me_knows_an_address_that_is_not_verified(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(EMAIL_VERIFICATION_REQUIRED=False)
    token = api.pair()["access_token"]

    EmailAddress.objects.update(verified_at=None)
    assert api.get("me", token=token).json()["email_verified"] is False

    EmailAddress.objects.all().delete()
    assert api.get("me", token=token).json()["email_verified"] is False


def delete(api: Api, token: str | None, password: str = PASSWORD) -> Any:
    return api("DELETE", "me", {"password": password}, token=token)


def test_a_deleted_account_is_gone_with_its_sessions_and_its_trail_stays(api: Api, user: Any, audited: None) -> None:
    pair = api.pair()
    api.post("password/reset", {"email": EMAIL})
    key = str(user.pk)

    assert delete(api, pair["access_token"]).status_code == 204

    assert not get_user_model().objects.exists()
    for model in (UserSession, EmailAddress, OneTimeToken):
        assert not model.objects.exists()
    assert not api.is_in(pair["access_token"])
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.login().status_code == 401
    assert BlacklistedToken.objects.count() == 1
    (deleted,) = [event for event in events() if event["type"] == "ninja-auth-kit.user.deleted.v1"]
    assert deleted["subject"] == f"user/{key}"
    assert deleted["data"]["details"] == {"sessions_ended": 1}


def test_receivers_hear_who_was_deleted(api: Api, user: Any) -> None:
    heard: list[Any] = []

    def listen(user: Any, **_: Any) -> None:
        heard.append(user.pk)

    signals.account_deleted.connect(listen)
    try:
        delete(api, api.pair()["access_token"])
    finally:
        signals.account_deleted.disconnect(listen)

    assert heard == [user.pk]


def test_an_account_is_not_deleted_without_its_password(api: Api, user: Any, audited: None) -> None:
    pair = api.pair()

    response = delete(api, pair["access_token"], "not the password of the account")

    assert (response.status_code, response.json()["code"]) == (403, "wrong_password")
    assert api.delete("me", token=pair["access_token"]).status_code == 422
    assert delete(api, None).status_code == 401
    assert api.is_in(pair["access_token"])
    assert event_names() == ["session.logged_in", "user.deletion_failed"]


def test_an_account_that_the_hosts_rows_protect_is_not_deleted(
    api: Api, user: Any, audited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def protected(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ProtectedError("an invoice of ada@example.com", set())

    monkeypatch.setattr(get_user_model(), "delete", protected)
    pair = api.pair()

    response = delete(api, pair["access_token"])

    assert (response.status_code, response.json()["code"]) == (409, "account_protected")
    assert b"invoice" not in response.content
    assert api.is_in(pair["access_token"])
    assert event_names() == ["session.logged_in", "user.deletion_failed"]


def test_a_reference_that_only_the_database_knows_protects_an_account_too(api: Api, user: Any) -> None:
    table, key = get_user_model()._meta.db_table, get_user_model()._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE host_invoice (user_id {key.rel_db_type(connection)} "
            f"REFERENCES {table} ({key.column}) DEFERRABLE INITIALLY DEFERRED)"
        )
        cursor.execute(f"INSERT INTO host_invoice SELECT {key.column} FROM {table}")
    try:
        assert delete(api, api.pair()["access_token"]).status_code == 409
        assert api.login().status_code == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE host_invoice")


def test_an_address_is_free_again_after_the_deletion(api: Api, user: Any) -> None:
    delete(api, api.pair()["access_token"])

    api.register()

    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200
