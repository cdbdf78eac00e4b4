"""`APIKeyAuth`: which requests it accepts, refuses and passes on."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.security import HttpBearer
from ninja.testing import TestClient

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.contrib.api_keys import APIKeyAuth, auth
from ninja_auth_kit.contrib.api_keys.models import PREFIX, ApiKey
from ninja_auth_kit.models import ThrottleBucket
from tests.conftest import Api, event_names
from tests.features.api_keys.conftest import READ, ROUTE, ROUTES, UNLIMITED, WRITE, status
from tests.features.conftest import answer

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., dict[str, Any]]
INVALID = 'Bearer error="invalid_token"'


# Accepted


def test_one_list_takes_a_key_and_an_access_token(api: Api, user: Any, key: str, token: str) -> None:
    for route in ("/notes/read", "/notes/read-async"):
        by_key, by_token = api.get(route, token=key).json(), api.get(route, token=token).json()
        assert by_key["user"] == by_token["user"] == by_key["auth"] == by_token["auth"] == str(user.pk)
        assert (by_key["session"], by_token["key"]) == (None, None)
        assert by_key["key"]
        assert by_token["session"]


def test_under_asgi_as_well(key: str, token: str) -> None:
    async def call(sent: str, route: str) -> int:
        return (await AsyncClient().get(route, headers={"Authorization": f"Bearer {sent}"})).status_code

    for route in ROUTES[:2]:
        assert [async_to_sync(call)(sent, route) for sent in (key, token, f"{PREFIX}x", "x")] == [200, 200, 401, 401]


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} "])
def test_the_scheme_has_no_case(api: Api, key: str, header: str) -> None:
    assert api.get(ROUTE, HTTP_AUTHORIZATION=header.format(key)).status_code == 200


@pytest.mark.security("KEY-03")
def test_a_key_needs_every_scope_of_the_route(api: Api, new_key: Make) -> None:
    reads, writes, both = (new_key(*scopes)["key"] for scopes in ([READ], [WRITE], [READ, WRITE]))

    assert [status(api, one, "/notes/write") for one in (reads, writes, both)] == [403, 403, 200]
    assert [status(api, one) for one in (reads, writes, both)] == [200, 403, 200]
    refused = api.get("/notes/write", token=reads)
    assert answer(refused) == (403, "insufficient_scope")
    assert refused["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="notes:read notes:write"'
    assert refused["Content-Type"] == "application/problem+json"
    assert refused["Cache-Control"] == "no-store"


@pytest.mark.security("KEY-03")
def test_the_endpoints_of_the_kit_take_no_key(api: Api, new_key: Make) -> None:
    made = new_key(READ, WRITE)
    key = made["key"]
    calls = [
        ("GET", "me", None),
        ("GET", "api-keys", None),
        ("POST", "api-keys", {"name": "x", "scopes": [READ]}),
        ("DELETE", f"api-keys/{made['id']}", None),
        ("POST", "password/change", {"current_password": "x", "new_password": "y"}),
        ("GET", "sessions", None),
        ("GET", "factors", None),
        ("POST", "logout/all", None),
    ]
    for method, path, body in calls:
        assert answer(api(method, path, body, token=key)) == (401, "invalid_token"), path
    assert answer(api.post("refresh", {"refresh_token": key})) == (401, "invalid_token")
    assert ApiKey.objects.count() == 1
    assert status(api, key) == 200


# Refused


@pytest.mark.security("KEY-02")
def test_a_key_is_refused_from_the_moment_of_its_expiry(
    api: Api, new_key: Make, clock: time_machine.Traveller
) -> None:
    key = new_key(expires_in=60)["key"]
    clock.shift(59)
    assert status(api, key) == 200
    clock.shift(1)
    assert [answer(api.get(route, token=key)) for route in ROUTES] == [(401, "invalid_token")] * 3


@pytest.mark.security("KEY-02")
def test_a_key_of_a_user_who_was_banned_or_deleted_is_refused(api: Api, user: Any, key: str) -> None:
    users = type(user).objects.filter(pk=user.pk)
    users.update(is_active=False)
    assert answer(api.get(ROUTE, token=key)) == (401, "invalid_token")
    users.update(is_active=True)
    assert status(api, key) == 200
    users._raw_delete(users.db)  # by SQL alone
    assert answer(api.get(ROUTE, token=key)) == (401, "invalid_token")
    assert not ApiKey.objects.exists()


@pytest.mark.security("KEY-01")
@pytest.mark.parametrize(
    "widened",
    [
        {"scopes": [READ, WRITE]},
        {"scopes": []},
        {"scopes": ["notes:read notes:write"]},
        {"expires_at": timedelta(days=400)},
        {"expires_at": timedelta(microseconds=1)},
        {"user": "grace@example.com"},
        {"digest": "v1$00000000$" + "0" * 64},
    ],
    ids=str,
)
def test_a_row_that_was_changed_without_the_root_secret_opens_nothing(
    api: Api, key: str, make_user: Callable[..., Any], widened: dict[str, Any]
) -> None:
    row = ApiKey.objects.get()
    ((name, value),) = widened.items()
    if name == "user":
        value = make_user(value)
    if name == "expires_at":
        value = row.expires_at + value
    ApiKey.objects.update(**{name: value})

    assert answer(api.get(ROUTE, token=key)) == (401, "invalid_token")
    assert answer(api.get("/notes/write", token=key)) == (401, "invalid_token")

    ApiKey.objects.update(**{name: getattr(row, name)})
    assert status(api, key) == 200


@pytest.mark.security("KEY-01")
def test_a_row_is_not_another_rows_and_no_column_is_a_key(api: Api, new_key: Make) -> None:
    first, second = new_key(), new_key(WRITE)
    digests = dict(ApiKey.objects.values_list("pk", "digest"))
    for digest in digests.values():
        assert status(api, digest) == 401
        assert status(api, PREFIX + digest[-64:]) == 401
    one, other = digests.values()
    ApiKey.objects.filter(pk=first["id"]).update(digest=other)
    ApiKey.objects.filter(pk=second["id"]).update(digest=one)
    assert [status(api, one["key"]) for one in (first, second)] == [401, 401]


@pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "A", lambda key: key + "=", str.swapcase])
def test_a_key_has_one_spelling(api: Api, key: str, change: Callable[[str], str]) -> None:
    assert status(api, change(key)) == 401


def test_every_refusal_is_one_answer(api: Api, new_key: Make, user: Any, clock: time_machine.Traveller) -> None:
    key, short = new_key()["key"], new_key(expires_in=1)["key"]
    clock.shift(2)
    sent = [short, PREFIX, f"{PREFIX}x", key[:-2] + "AA", f"{PREFIX}{'A' * 64}", f"{PREFIX}{'A' * 5000}"]
    answers = {
        (response.status_code, response.content, response["WWW-Authenticate"])
        for one in sent
        for response in [api.get(ROUTE, token=one)]
    }
    type(user).objects.update(is_active=False)
    banned = api.get(ROUTE, token=key)
    answers.add((banned.status_code, banned.content, banned["WWW-Authenticate"]))

    ((code, body, challenge),) = answers
    assert (code, challenge) == (401, INVALID)
    assert b'"code": "invalid_token"' in body


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, "Bearer"),
        ("", "Bearer"),
        ("Basic nakp_x", "Bearer"),
        ("nakp_x", "Bearer"),
        ("Bearer", INVALID),
        ("Bearer x", INVALID),
        ("Bearer nakr_x", INVALID),
        ("Bearer x nakp_x", INVALID),
        ("Bearer nakp_", INVALID),
        ("Bearer nakp_x y", INVALID),
        ("Bearer nakp_ü", INVALID),
    ],
)
@pytest.mark.parametrize("route", ROUTES)
def test_what_is_no_key_gets_a_challenge_on_every_list(
    api: Api, user: Any, header: str | None, challenge: str, route: str
) -> None:
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response = api.get(route, **headers)

    assert answer(response) == (401, "invalid_token")
    assert response["WWW-Authenticate"] == challenge
    assert response["Content-Type"] == "application/problem+json"


def test_a_list_with_an_optional_token_lets_strangers_in_and_no_bad_key(api: Api, key: str, token: str) -> None:
    assert api.get("/notes/anyone").json() == {"user": "None", "auth": None, "key": None, "session": None}
    assert [status(api, one, "/notes/anyone") for one in (key, token, f"{PREFIX}x", "x")] == [200, 200, 401, 401]


def test_a_key_in_another_place_is_no_key(api: Api, key: str) -> None:
    assert api.get(f"{ROUTE}?access_token={key}&api_key={key}").status_code == 401
    assert api.get(ROUTE, HTTP_X_API_KEY=key, HTTP_COOKIE=f"api_key={key}").status_code == 401


@pytest.mark.security("BF-09")
def test_refused_keys_are_limited_by_network_and_good_ones_are_not_counted(api: Api, key: str, audited: None) -> None:
    assert [status(api, f"{PREFIX}x") for _ in range(60)] == [401] * 60
    refused = api.get(ROUTE, token=f"{PREFIX}x")
    assert answer(refused) == (429, "throttled")
    assert 0 < int(refused["Retry-After"]) <= 60
    assert refused.json()["retry_after"] == int(refused["Retry-After"])
    assert api.get("/notes/read-async", token=f"{PREFIX}x").status_code == 429

    assert [status(api, key) for _ in range(3)] == [200] * 3
    assert status(Api(REMOTE_ADDR="192.0.2.1"), f"{PREFIX}x") == 401
    assert event_names().count("request.throttled") == 1
    assert event_names().count("api_key.refused") <= 11  # the others are counted


def test_a_database_that_does_not_answer_is_a_503(api: Api, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("planted")

    monkeypatch.setattr(ApiKey.objects, "load", fail)
    for route in ROUTES:
        assert answer(api.get(route, token=key)) == (503, "service_unavailable")


@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_database_that_is_read_only_stops_no_key(
    api: Api, key: str, is_atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", is_atomic)
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        assert status(api, key) == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
    assert ApiKey.objects.get().last_used_at is None


# The cost, and the last use


def statements(call: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        call()
    return [one["sql"] for one in captured if not one["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]


@pytest.mark.security("KEY-02")
def test_a_request_costs_one_query_and_one_write_an_hour(api: Api, key: str, clock: time_machine.Traveller) -> None:
    def cost() -> int:
        return len(statements(lambda: api.get(ROUTE, token=key)))

    assert [cost(), cost(), cost()] == [2, 1, 1]
    first = timezone.now()
    clock.shift(3599)
    assert cost() == 1
    assert ApiKey.objects.get().last_used_at == first
    clock.shift(1)
    assert [cost(), cost()] == [2, 1]
    assert ApiKey.objects.get().last_used_at == timezone.now()


def test_a_refusal_is_bounded_and_one_that_is_no_key_asks_for_no_row(api: Api, key: str, user: Any) -> None:
    malformed = statements(lambda: api.get(ROUTE, token=f"{PREFIX}x"))
    unknown = statements(lambda: api.get(ROUTE, token=f"{PREFIX}{'A' * 64}"))

    assert [ApiKey._meta.db_table in one for one in malformed] == [False]
    assert len(unknown) == 2
    assert ThrottleBucket.objects.filter(rule="api_key_network").get().hits == 2


def test_a_refused_use_is_not_noted(api: Api, key: str) -> None:
    assert status(api, key, "/notes/write") == 403
    assert ApiKey.objects.get().last_used_at is None


# Any input


PARTS = st.text(alphabet=st.characters(max_codepoint=255, exclude_categories=["Cs"]), max_size=90)


@pytest.mark.attack
@given(sent=PARTS, prefix=st.sampled_from([PREFIX, "nakp", "Nakp_", ""]), route=st.sampled_from(ROUTES))
@example(sent="\x00", prefix=PREFIX, route=ROUTE)
@example(sent="A" * 64 + "\n", prefix=PREFIX, route=ROUTE)
@example(sent="_" * 64, prefix=PREFIX, route=ROUTE)
@example(sent="٣" * 64, prefix=PREFIX, route=ROUTE)
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_a_key_gets_a_documented_answer(api: Api, kit: Any, sent: str, prefix: str, route: str) -> None:
    kit(**UNLIMITED)
    response = api.get(route, HTTP_AUTHORIZATION=f"Bearer {prefix}{sent}")

    assert answer(response) == (401, "invalid_token")
    assert response["WWW-Authenticate"] in {INVALID, "Bearer"}


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.attack
@given(
    name=ANY, scopes=st.lists(st.sampled_from([READ, WRITE]) | ANY, max_size=4) | ANY, expires_in=st.integers() | ANY
)
@example(name="\ud800", scopes=[READ], expires_in=None)
@example(name="\x00", scopes=["\x00"], expires_in=None)
@example(name="x", scopes=["\ud800"], expires_in=10**30)
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_gets_a_documented_answer(api: Api, token: str, name: Any, scopes: Any, expires_in: Any) -> None:
    body = {"name": name, "scopes": scopes, "expires_in": expires_in}
    response = api.post("api-keys", body, token=token)

    assert response.status_code in {201, 400, 409, 422}, response.content
    if response.status_code == 201:
        assert set(response.json()["scopes"]) <= {READ, WRITE}


# The object


@pytest.mark.parametrize("scopes", [(), ("",), ("a b",), ('a"b',), ("a\\b",), ("ä",), ("a\n",), ("x" * 101,)])
def test_a_scope_must_be_a_token(scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one or several scopes"):
        APIKeyAuth(*scopes)


def test_a_scope_must_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="does not have notes:delete"):
        APIKeyAuth(READ, "notes:delete")
    monkeypatch.setattr(auth.features, "is_installed", lambda name: False)
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        APIKeyAuth(READ)


def test_the_document_names_the_scheme_and_the_scopes() -> None:
    from tests.features.api_keys import routes  # only with the app

    document = routes.api.get_openapi_schema()

    scheme = document["components"]["securitySchemes"]["APIKeyAuth"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "nakp_" in scheme["description"]
    paths = {path.rpartition("/")[2]: one["get"]["security"] for path, one in document["paths"].items()}
    assert paths["read"] == [{"APIKeyAuth": [READ]}, {"JWTAuth": []}]
    assert paths["write"] == [{"APIKeyAuth": [READ, WRITE]}]
    assert paths["anyone"] == [{"APIKeyAuth": [READ]}, {"JWTAuth": []}, {}]


@pytest.mark.parametrize("scopes", [None, "notes:read", ["notes:read"]])
def test_the_document_of_an_api_without_the_kit_is_as_ninja_writes_it(scopes: Any) -> None:
    class Partner(HttpBearer):
        required_scopes = scopes

        def authenticate(self, request: Any, token: str) -> str:
            return token

    api = NinjaAPI(urls_namespace="partner")
    api.get("/read", auth=Partner())(lambda request: None)

    document = api.get_openapi_schema(path_prefix="/")
    assert document["paths"]["/read"]["get"]["security"] == [{"Partner": []}]


def test_an_authentication_error_of_the_endpoint_is_answered_as_without_the_kit(key: str, token: str) -> None:
    api = NinjaAPI(urls_namespace="own-errors")

    @api.get("/read", auth=[APIKeyAuth(READ), JWTAuth()])
    def read(request: Any) -> str:
        raise AuthenticationError(message="The partner refused you.")

    client = TestClient(api)
    answers = [client.get("/read", headers={"Authorization": f"Bearer {one}"}) for one in (key, token)]
    assert [(one.status_code, one.json()) for one in answers] == [(401, {"detail": "The partner refused you."})] * 2


def test_handlers_of_the_project_win(key: str, user: Any) -> None:
    api = NinjaAPI(urls_namespace="own-handlers")
    api.add_exception_handler(AuthenticationError, lambda request, error: api.create_response(request, {}, status=418))
    api.add_exception_handler(HttpError, lambda request, error: api.create_response(request, {}, status=419))

    @api.get("/read", auth=APIKeyAuth(READ, WRITE))
    def read(request: Any) -> str:
        return "done"

    client = TestClient(api)
    sent = [{}, {"Authorization": f"Bearer {PREFIX}"}, {"Authorization": f"Bearer {key}"}]
    assert [client.get("/read", headers=headers).status_code for headers in sent] == [418, 418, 419]
