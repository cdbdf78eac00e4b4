"""Custom claims in access tokens."""

import json
import logging
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import read_access_token
from ninja_auth_kit.tokens.access import CLAIMS
from tests.conftest import EMAIL, PASSWORD, Api, event_names, new_access_token
from tests.test_checks import ids, ours

pytestmark = pytest.mark.django_db(transaction=True)

HERE = f"{__name__}."
configured: dict[str, Any] = {}
calls: list[Any] = []
NOT_CALLABLE = "claims"


def claims(user: Any, session: UserSession) -> Any:
    calls.append((user.pk, session.pk, session.ip_address, connection.in_atomic_block))
    if "raise" in configured:
        raise RuntimeError("the directory is away")
    return configured.get("return", configured)


@pytest.fixture
def set_claims(kit: Callable[..., None]) -> Callable[..., None]:
    """Return a function that sets what the project's callable returns or raises."""
    configured.clear()
    calls.clear()
    kit(ACCESS_TOKEN_CLAIMS=HERE + "claims")
    return configured.update


def payload(token: str) -> dict[str, Any]:
    segment = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4))))


def test_the_claims_of_the_host_stand_in_every_access_token(
    api: Api, user: Any, set_claims: Callable[..., None]
) -> None:
    set_claims(scope="notes", roles=["poet"])
    pair = api.pair()
    set_claims(roles=["poet", "countess"])
    refreshed = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    again = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()

    assert payload(pair["access_token"])["roles"] == ["poet"]
    for each in (refreshed, again):
        assert payload(each["access_token"]).items() >= {"scope": "notes", "roles": ["poet", "countess"]}.items()
        assert payload(each["access_token"])["sub"] == str(user.pk)
    session = UserSession.objects.get()
    assert calls == [(user.pk, session.pk, "127.0.0.1", False)] * 3


@pytest.mark.parametrize("route", ["/host/claims", "/host/stateless-claims"])
def test_a_route_reads_them_at_one_place(api: Api, user: Any, set_claims: Callable[..., None], route: str) -> None:
    without = api.pair()["access_token"]
    set_claims(scope="notes")
    with_claims = api.pair()["access_token"]

    assert api.get(route, token=with_claims).json() == {"scope": "notes"}
    assert api.get("/host/stateless-claims", token=without).json() == {}


@pytest.mark.security("JWT-18", "JWT-24")
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        *(({name: "c4n4ry"}, f"must not have {name!r}") for name in sorted(CLAIMS)),
        ({"big": "c4n4ry" * 1000}, "make the token too long: it has"),
        ({"odd": {"c4n4ry"}}, "cannot be written as JSON (TypeError)"),
        ({"odd": float("nan")}, "cannot be written as JSON (ValueError)"),
        ({"odd": "c4n4ry\ud800"}, "cannot be written as JSON (UnicodeEncodeError)"),
        ({"odd": [{1: "c4n4ry", "1": "c4n4ry"}]}, "contain an object with duplicate members"),
        ({"return": {7: "c4n4ry"}}, "must have strings as names, not int"),
        ({"return": ["c4n4ry"]}, "must return a mapping, not list"),
        ({"return": None}, "must return a mapping, not NoneType"),
        ({"raise": True}, "the directory is away"),
    ],
)
def test_claims_that_cannot_be_leave_no_half_a_login_and_no_spent_refresh_token(
    api: Api,
    user: Any,
    set_claims: Callable[..., None],
    audited: None,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, Any],
    reason: str,
) -> None:
    before = api.pair()
    row = UserSession.objects.values().get()
    set_claims(**wrong)

    answers = [api.login(), api.post("refresh", {"refresh_token": before["refresh_token"]})]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(500, "server_error")] * 2
    assert caplog.text.count(reason) >= 2
    assert "c4n4ry" not in caplog.text
    assert not any(b"c4n4ry" in answer.content for answer in answers)
    assert UserSession.objects.values().get() == row
    assert event_names() == ["session.logged_in"]
    configured.clear()
    assert api.is_in(before["access_token"])
    assert api.post("refresh", {"refresh_token": before["refresh_token"]}).status_code == 200


@pytest.mark.security("JWT-24")
def test_the_longest_token_that_is_issued_is_one_that_is_read(
    api: Api, user: Any, set_claims: Callable[..., None]
) -> None:
    set_claims(big="x" * 2600)
    token = api.pair()["access_token"]

    assert 3500 < len(token) <= 4096
    assert api.get("/host/stateless-claims", token=token).json() == {"big": "x" * 2600}


@pytest.mark.security("JWT-24")
def test_a_letter_of_another_script_takes_no_more_than_its_bytes(
    api: Api, user: Any, set_claims: Callable[..., None]
) -> None:
    set_claims(first="😀" * 150, last="😀" * 150)
    token = api.pair()["access_token"]

    assert api.get("/host/stateless-claims", token=token).json() == {"first": "😀" * 150, "last": "😀" * 150}


@pytest.mark.security("JWT-24")
def test_a_token_of_the_greatest_length_is_issued_and_read_to_the_last_character() -> None:
    session_id = uuid.uuid4()
    tokens = (
        new_access_token(user_id="7", session_id=session_id, extra={"big": "x" * size}) for size in range(2700, 2900)
    )

    token = next(token for token in tokens if len(token) == 4096)

    assert read_access_token(token).session_id == session_id


@pytest.mark.security("CRED-05")
def test_who_is_turned_away_does_not_wait_for_the_host(
    api: Api, make_user: Callable[..., Any], set_claims: Callable[..., None]
) -> None:
    make_user(verified=False)
    make_user("disabled@example.com", is_active=False)

    assert api.login().status_code == 403
    assert api.login("disabled@example.com").status_code == 401
    assert api.login(password="wrong wrong wrong").status_code == 401
    assert calls == []


def test_reuse_ends_the_session_even_where_the_host_fails(
    api: Api, user: Any, set_claims: Callable[..., None], kit: Callable[..., None]
) -> None:
    kit(REFRESH_GRACE_PERIOD=0)
    pair = api.pair()
    api.post("refresh", {"refresh_token": pair["refresh_token"]})
    set_claims(**{"raise": True})

    response = api.post("refresh", {"refresh_token": pair["refresh_token"]})

    assert response.json()["code"] == "token_reused"
    assert not UserSession.objects.get().is_active


def test_what_a_token_says_is_not_in_its_representation() -> None:
    key = UserSession().pk
    claims = read_access_token(new_access_token(user_id="7", session_id=key, extra={"x": "c4n4ry"}))

    assert claims.extra == {"x": "c4n4ry"}
    assert "c4n4ry" not in repr(claims)
    with pytest.raises(ImproperlyConfigured, match="must not have 'sid'"):
        new_access_token(user_id="7", session_id=key, extra={"sid": "c4n4ry"})


@pytest.mark.parametrize("path", [HERE + "nobody", "nowhere.claims", HERE + "NOT_CALLABLE"])
def test_a_path_to_nothing_is_a_check_error_and_no_login(
    api: Api, user: Any, kit: Callable[..., None], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    kit(ACCESS_TOKEN_CLAIMS=path)

    assert ids() == ["E011"]
    assert ours()[0].hint
    with caplog.at_level(logging.ERROR):
        assert api.post("login", {"email": EMAIL, "password": PASSWORD}).status_code == 500
    assert "NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS']" in caplog.text
    assert not UserSession.objects.exists()
