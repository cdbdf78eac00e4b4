"""Login, over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model, user_logged_in, user_login_failed
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit.models import UserSession, has_username
from tests.conftest import EMAIL, PASSWORD, Api, event_names
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)


def active() -> Any:
    return UserSession.objects.filter(is_active=True)


def test_a_login_answers_with_a_token_pair(api: Api, user: Any) -> None:
    response = api.login(HTTP_USER_AGENT="Lynx/2.9", REMOTE_ADDR="203.0.113.7")

    assert response.status_code == 200
    pair = response.json()
    session = UserSession.objects.get()
    assert set(pair) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_expires_in",
        "session_id",
    }
    assert pair["token_type"] == "Bearer"
    assert pair["expires_in"] == 300
    assert 7 * 86_400 - 5 <= pair["refresh_expires_in"] <= 7 * 86_400
    assert pair["session_id"] == str(session.pk)
    assert (session.ip_address, session.user_agent) == ("203.0.113.7", "Lynx/2.9")
    assert api.is_in(pair["access_token"])


def test_a_login_takes_the_username_or_the_address_and_not_both(api: Api, user: Any) -> None:
    name = user.get_username()

    assert api.post("login", {"username": name, "password": PASSWORD}).status_code == 200
    assert api.post("login", {"email": EMAIL, "password": PASSWORD}).status_code == 200
    for body in ({"username": name, "email": EMAIL, "password": PASSWORD}, {"password": PASSWORD}):
        response = api.post("login", body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["code"] == "one_identifier"


def test_a_login_sets_last_login(api: Api, user: Any) -> None:
    before = timezone.now()

    api.login()

    user.refresh_from_db()
    assert user.last_login >= before


@pytest.mark.security("CRED-05")
def test_every_refusal_looks_the_same(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("disabled@example.com", is_active=False)
    make_user("disabled-unverified@example.com", is_active=False, verified=False)
    make_user("passwordless@example.com", password=None)
    gone = make_user("gone@example.com")
    gone.delete()

    answers = [
        api.login(password="wrong wrong wrong"),
        api.login("nobody@example.com"),
        api.login("no address at all"),
        api.login("disabled@example.com"),
        api.login("disabled-unverified@example.com"),
        api.login("passwordless@example.com"),
        api.login("gone@example.com"),
        api.post("login", {"username": "nobody", "password": PASSWORD}),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({(answer.content, str(sorted(answer.headers.items()))) for answer in answers}) == 1
    assert answers[0].json()["code"] == "invalid_credentials"
    assert not UserSession.objects.exists()


@pytest.mark.security("CRED-05")
def test_known_and_unknown_addresses_cost_the_same_hashes_and_queries(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    hashes = []
    hasher = "django.contrib.auth.hashers.MD5PasswordHasher.encode"
    original = __import__("django.contrib.auth.hashers", fromlist=["x"]).MD5PasswordHasher.encode
    monkeypatch.setattr(hasher, lambda *args, **kwargs: hashes.append(1) or original(*args, **kwargs))

    counts = []
    for address in (EMAIL, "nobody@example.com"):
        hashes.clear()
        with django_assert_num_queries(2):
            api.login(address, "wrong wrong wrong")
        counts.append(len(hashes))

    assert counts == [1, 1]


def test_a_username_that_looks_like_somebodys_address_is_not_that_address(
    api: Api, make_user: Callable[..., Any]
) -> None:
    if not has_username():
        pytest.skip("these users have no name")
    make_user("eve@example.com", "the password of eve", username="ada@example.com")

    assert api.login("ada@example.com", "the password of eve").status_code == 401


def test_a_username_is_normalised_at_login_as_at_registration(api: Api, make_user: Callable[..., Any]) -> None:
    if not has_username():
        pytest.skip("these users have no name")
    make_user(username="ﬁona".replace("ﬁ", "fi"))

    assert api.post("login", {"username": "ﬁona", "password": PASSWORD}).status_code == 200


@pytest.mark.security("SES-01")
def test_a_new_login_ends_the_previous_session_at_once(api: Api, user: Any, audited: None) -> None:
    first = api.pair()

    second = api.pair()

    assert api.get("me", token=first["access_token"]).json()["code"] == "session_ended"
    assert api.post("refresh", {"refresh_token": first["refresh_token"]}).json()["code"] == "session_ended"
    assert api.is_in(second["access_token"])
    old, new = UserSession.objects.order_by("login_time")
    assert (old.is_active, old.end_reason, new.is_active) == (False, "replaced", True)
    assert old.logout_time is not None
    assert event_names()[:3] == ["session.logged_in", "session.revoked", "session.logged_in"]


@pytest.mark.security("SES-03")
def test_the_database_refuses_a_second_active_session(api: Api, user: Any) -> None:
    api.pair()
    columns = ", ".join(field.column for field in UserSession._meta.concrete_fields if field.name != "id")

    with pytest.raises(IntegrityError, match="authkit_one_active_session_per_slot"), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {UserSession._meta.db_table} (id, {columns}) "  # noqa: S608
            f"SELECT gen_random_uuid(), {columns} FROM {UserSession._meta.db_table}"
        )


@pytest.mark.parametrize("limit", [2, 3])
def test_a_limit_of_n_keeps_the_newest_n(api: Api, user: Any, kit: Callable[..., None], limit: int) -> None:
    kit(SESSION_LIMIT=limit)

    pairs = [api.pair() for _ in range(limit + 2)]

    assert [api.is_in(pair["access_token"]) for pair in pairs] == [False, False] + [True] * limit
    assert sorted(active().values_list("slot", flat=True)) == list(range(limit))


def test_a_lowered_limit_ends_what_is_over_it_at_the_next_login(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(SESSION_LIMIT=None)
    pairs = [api.pair() for _ in range(4)]
    assert all(api.is_in(pair["access_token"]) for pair in pairs)
    assert set(active().values_list("slot", flat=True)) == {None}

    kit(SESSION_LIMIT=1)
    last = api.pair()

    assert [api.is_in(pair["access_token"]) for pair in (*pairs, last)] == [False] * 4 + [True]


def test_the_reject_policy_refuses_the_new_login_and_lets_the_old_session_live(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    pair = api.pair()

    response = api.login()

    assert (response.status_code, response.json()["code"]) == (409, "session_limit_reached")
    assert api.is_in(pair["access_token"])
    api.post("logout", token=pair["access_token"])
    assert api.login().status_code == 200


def test_the_reject_policy_does_not_count_sessions_that_are_dead(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    api.pair()
    UserSession.objects.update(refresh_expires_at=timezone.now())
    assert api.login().status_code == 200

    user.set_password("a password from the shell")
    user.save()

    assert api.login(password="a password from the shell").status_code == 200
    assert set(UserSession.objects.values_list("end_reason", flat=True)) == {"expired", "password_changed", ""}


@pytest.mark.security("SES-20")
def test_nothing_a_client_sends_decides_about_its_session(api: Api, user: Any) -> None:
    wanted = {"session_id": "00000000-0000-4000-8000-000000000000", "sid": "x", "jti": "x", "refresh_token": "x"}

    assert api.post("login", {"email": EMAIL, "password": PASSWORD, **wanted}).status_code == 422
    pairs = [api.pair() for _ in range(50)]
    assert len({pair["session_id"] for pair in pairs}) == len({pair["refresh_token"] for pair in pairs}) == 50


class ShoutingBackend(BaseBackend):
    """A backend for other credentials, which must be passed over."""

    def authenticate(self, request: Any, shout: str | None = None, **kwargs: Any) -> Any:
        raise AssertionError("it was asked for credentials that it has not")


class OtherCredentials(BaseBackend):
    """A backend whose credentials have other names, which must be passed over."""

    def authenticate(self, request: Any, badge: str) -> Any:
        raise AssertionError("it was asked for credentials that it has not")


class LockingBackend(BaseBackend):
    """A backend as lockout packages have it: it wants the request, and says stop."""

    def authenticate(self, request: Any, **kwargs: Any) -> Any:
        assert request is not None
        raise PermissionDenied


def test_login_goes_through_djangos_backends(api: Api, user: Any, settings: Settings) -> None:
    django_backend = f"{ModelBackend.__module__}.{ModelBackend.__qualname__}"
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OtherCredentials", django_backend]
    assert api.login().status_code == 200

    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.LockingBackend", django_backend]
    assert api.login().status_code == 401


@pytest.mark.security("AUD-11")
def test_failing_receivers_of_the_host_break_no_login(api: Api, user: Any, audited: None) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("a receiver of the host failed")

    def fail_in_the_database(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")

    receivers = (fail, fail_in_the_database)
    for signal in (user_logged_in, user_login_failed):
        for receiver in receivers:
            signal.connect(receiver)
    try:
        assert api.login().status_code == 200
        assert api.login(password="wrong wrong wrong").status_code == 401
    finally:
        for signal in (user_logged_in, user_login_failed):
            for receiver in receivers:
                signal.disconnect(receiver)

    assert event_names() == ["session.logged_in", "session.login_failed"]
    assert active().count() == 1


def test_django_is_told_of_logins_and_failed_logins(api: Api, user: Any) -> None:
    heard: list[tuple[str, Any]] = []

    def logged_in(user: Any, request: Any, **_: Any) -> None:
        heard.append(("in", user.pk))

    def failed(credentials: dict[str, str], request: Any, **_: Any) -> None:
        heard.append(("failed", credentials))

    user_logged_in.connect(logged_in)
    user_login_failed.connect(failed)
    try:
        api.login()
        api.login(password="wrong wrong wrong")
    finally:
        user_logged_in.disconnect(logged_in)
        user_login_failed.disconnect(failed)

    assert heard == [("in", user.pk), ("failed", {"username": EMAIL, "password": "*" * 20})]


@pytest.mark.security("SES-11")
def test_a_password_that_changes_during_the_hash_does_not_log_in(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate_slowly(self: Any, request: Any, **credentials: Any) -> Any:
        checked = get_user_model().objects.get(pk=user.pk)
        changed = get_user_model().objects.get(pk=user.pk)
        changed.set_password("changed in the meantime")
        changed.save()
        return checked

    monkeypatch.setattr(ModelBackend, "authenticate", authenticate_slowly)

    assert api.login().status_code == 401
    assert not UserSession.objects.exists()


def test_no_transaction_is_open_while_the_password_is_hashed(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = ModelBackend.authenticate

    def watch(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(transaction.get_connection().in_atomic_block)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ModelBackend, "authenticate", watch)

    api.pair()

    assert seen == [False]


@pytest.mark.race
@pytest.mark.security("SES-02")
def test_fifty_logins_at_once_leave_one_session_and_one_working_token(
    servers: Callable[..., Server], user: Any
) -> None:
    server = servers()
    call = ("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})

    answers = server.race(*[call] * 50)

    assert [status for status, _ in answers] == [200] * 50
    assert active().count() == 1
    doors = [server.request("GET", "/api/auth/me", token=pair["access_token"])[0] for _, pair in answers]
    assert sorted(doors) == [200] + [401] * 49
    refreshed = [
        server.request("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})[0] for _, pair in answers
    ]
    assert sorted(refreshed) == [200] + [401] * 49
