"""Invalid input and failures: a problem response, no change, and no internal details."""

import gzip
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import ProtectedError
from django.db.utils import InterfaceError, OperationalError
from pytest_django import Settings

from ninja_auth_kit import services
from ninja_auth_kit.exceptions import clear_local_variables
from ninja_auth_kit.models import UserSession
from tests.conftest import EMAIL, PASSWORD, Api, users_have_names
from tests.servers import Server

pytestmark = pytest.mark.django_db

BODIES: dict[str, dict[str, Any]] = {
    "register": {"email": EMAIL, "password": PASSWORD},
    "verify-email": {"token": "x", "password": PASSWORD},
    "verify-email/resend": {"email": EMAIL},
    "login": {"email": EMAIL, "password": PASSWORD},
    "refresh": {"refresh_token": "x"},
}
MOUNTS = ["/api/auth/", "/host/auth/"]


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is a problem with this status and code, and return its body."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert (
        {"type", "title", "status", "detail", "code"}
        <= set(body)
        <= {
            "type",
            "title",
            "status",
            "detail",
            "code",
            "errors",
            "retry_after",
        }
    )
    assert (body["status"], body["code"]) == (status, code)
    return body


@pytest.fixture(params=MOUNTS)
def mounted(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, [["x"]], {"a": "b"}])
def test_a_value_of_the_wrong_type_is_named_by_its_field(mounted: Api, path: str, value: Any) -> None:
    for field in BODIES[path]:
        response = mounted.post(path, {**BODIES[path], field: value})

        errors = problem(response, 422, "validation_error")["errors"]
        assert field in {error["field"] for error in errors} or errors[0]["code"] == "one_identifier"


@pytest.mark.security("DOS-02")
def test_thousands_of_unknown_fields_get_a_short_answer(mounted: Api) -> None:
    response = mounted.post("login", {f"field{number}": number for number in range(3000)})

    errors = problem(response, 422, "validation_error")["errors"]
    assert 1 <= [error["code"] for error in errors].count("unknown_field") <= 5
    assert len(response.content) < 1000


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("name", ["remember_me", "e-mail", "passwort", "Email", "x.y"])
def test_an_unknown_field_is_named(mounted: Api, path: str, name: str) -> None:
    for value in ("secret value", None, [], {"deep": {}}):
        response = mounted.post(path, {**BODIES[path], name: value})

        errors = problem(response, 422, "validation_error")["errors"]
        assert (name, "unknown_field") in {(error["field"], error["code"]) for error in errors}
        assert b"secret value" not in response.content


@pytest.mark.parametrize(
    "name", ["", "two words", "x" * 33, "Straße", "<b>", "7", "nakr_" + "x" * 40, "eyJh.eyJz.c2ln="]
)
def test_an_unknown_field_whose_name_is_no_name_is_not_repeated(mounted: Api, name: str) -> None:
    errors = problem(mounted.post("login", {**BODIES["login"], name: 1}), 422, "validation_error")["errors"]

    assert [(error["field"], error["code"]) for error in errors] == [("", "unknown_field")]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"email": "x", "password": "y", "email": "x"}', "email"),
        (b'{"remember": 1, "remember": 2}', "remember"),
        (b'{"email": {"inner": 1, "inner": 1}}', "inner"),
        (b'{"two words": 1, "two words": 2}', ""),
        (b'{"\\u0061": 1, "a": 2}', "a"),
    ],
)
def test_a_field_that_is_sent_twice_is_named(mounted: Api, body: bytes, name: str) -> None:
    said = problem(mounted.post("login", body), 400, "malformed_body")

    assert [(error["field"], error["code"]) for error in said["errors"]] == [(name, "duplicate_field")]
    assert "errors" not in problem(mounted.post("login", b"{"), 400, "malformed_body")


@pytest.mark.security("DOS-02")
def test_a_body_of_thousands_of_members_with_one_twice_is_answered_at_once(mounted: Api) -> None:
    names = [f'"{number}":0' for number in range(7000)]

    problem(mounted.post("login", f"{{{','.join([*names, names[-1]])}}}".encode()), 400, "malformed_body")


@pytest.mark.parametrize("path", BODIES)
def test_a_missing_body_and_missing_fields_are_named(mounted: Api, path: str) -> None:
    for body in (None, {}):
        errors = problem(mounted.post(path, body), 422, "validation_error")["errors"]
        assert all(set(error) == {"field", "code", "message"} for error in errors)
        assert {error["code"] for error in errors} <= {"required", "one_identifier"}


@pytest.mark.security("CRED-11")
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("poison", ["\x00", "\ud800", "a\x00b"])
def test_nul_and_lone_surrogates_are_input_errors(mounted: Api, path: str, poison: str) -> None:
    for field in BODIES[path]:
        problem(mounted.post(path, {**BODIES[path], field: f"x{poison}@example.com"}), 422, "validation_error")


@pytest.mark.security("DOS-02", "CRED-18")
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"nonsense",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b'{"email": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b"\xef\xbb\xbf{}",
        '{"email": "x"}'.encode("utf-16"),
        b'{"email": "\xff"}',
        b"{} trailing",
    ],
)
def test_what_is_no_json_object_is_refused(mounted: Api, body: bytes) -> None:
    response = mounted.post("login", body)

    if body:
        problem(response, 400, "malformed_body")
    else:
        problem(response, 422, "validation_error")


@pytest.mark.security("DOS-01", "DOS-02")
def test_a_large_body_is_refused(mounted: Api) -> None:
    for size in (65_537, 1_000_000, 3_000_000):
        body = json.dumps({"email": EMAIL, "password": "x" * size}).encode()
        problem(mounted.post("login", body), 413, "body_too_large")
    problem(mounted.post("login", b"{}", CONTENT_LENGTH="9" * 400), 413, "body_too_large")
    problem(mounted.post("login", b"{}", CONTENT_LENGTH="abc"), 400, "malformed_body")
    problem(mounted.post("login", b"{}", CONTENT_LENGTH="-1"), 400, "malformed_body")
    problem(mounted.post("login", {"email": EMAIL, "password": "x" * 60_000}), 422, "validation_error")


@pytest.mark.security("HTTP-05")
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "",
        "json",
    ],
)
def test_a_body_that_is_not_called_json_is_refused(mounted: Api, content_type: str, user: Any) -> None:
    body = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()

    problem(mounted.post("login", body, content_type=content_type), 415, "unsupported_media_type")
    assert not UserSession.objects.exists()


def test_json_may_say_its_charset(mounted: Api, user: Any) -> None:
    body = {"email": EMAIL, "password": PASSWORD}

    assert mounted.post("login", body, content_type="application/json; charset=utf-8").status_code == 200


@pytest.mark.security("HTTP-05")
@pytest.mark.parametrize("path", [*BODIES, "logout", "logout/all"])
def test_other_methods_are_refused_with_what_is_allowed(mounted: Api, path: str) -> None:
    allowed = {"GET", "HEAD", "POST"} if path == "verify-email" else {"POST"}
    for method in {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "FOO"} - allowed:
        response = mounted(method, path)

        assert response.status_code == 405
        assert set(response["Allow"].split(", ")) == allowed
        assert response["Content-Type"] == "application/problem+json"
        assert response["Cache-Control"] == "no-store"


class Endless:
    """The input of a server that does not end it: reading it without a known length waits for ever."""

    def read(self, *_: int) -> bytes:
        raise AssertionError("The body was read without a known length.")

    readline = read


class InPieces(Endless):
    """The input of a server that ends it, and returns a few bytes at a time."""

    def __init__(self, body: bytes) -> None:
        self.left = body

    def read(self, size: int = -1) -> bytes:
        end = min(size, 7)
        piece, self.left = self.left[:end], self.left[end:]
        return piece


HTTP2 = {"SERVER_PROTOCOL": "HTTP/2"}


def ended(stream: Any) -> dict[str, Any]:
    """Return the variables of a server that ends the input."""
    return {"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}


@pytest.mark.parametrize("headers", [{"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}, HTTP2])
def test_a_body_that_the_server_does_not_end_is_refused_and_not_taken_for_none(
    mounted: Api, user: Any, headers: dict[str, str]
) -> None:
    pair = mounted.pair()

    problem(mounted.post("logout", **headers, **{"wsgi.input": Endless()}), 411, "length_required")

    assert mounted.is_in(pair["access_token"])


@pytest.mark.parametrize("headers", [{}, {"CONTENT_LENGTH": ""}, {**HTTP2, "CONTENT_LENGTH": ""}])
def test_a_request_that_has_no_body_is_not_read(mounted: Api, user: Any, headers: dict[str, str]) -> None:
    token = mounted.pair()["access_token"]

    assert mounted.post("logout", token=token, **headers, **{"wsgi.input": Endless()}).status_code == 204

    assert not mounted.is_in(token)


@pytest.mark.parametrize("headers", [{}, HTTP2, {"HTTP_TRANSFER_ENCODING": "chunked"}])
@pytest.mark.parametrize("kind", ["in pieces", "in memory"])
def test_a_body_that_the_server_ends_is_read_without_a_length(
    mounted: Api, user: Any, headers: dict[str, str], kind: str
) -> None:
    pair = mounted.pair()
    body = json.dumps({"refresh_token": pair["refresh_token"]}).encode()
    stream = ended(InPieces(body) if kind == "in pieces" else BytesIO(body))
    if kind == "in memory":  # Hypercorn has read it, and does not say so
        del stream["wsgi.input_terminated"]

    assert mounted.post("logout", **headers, **stream).status_code == 204

    assert not mounted.is_in(pair["access_token"])


def test_a_body_without_a_length_has_the_limits_of_every_other(mounted: Api, settings: Settings) -> None:
    large = InPieces(b"{}".ljust(70_000))
    problem(mounted.post("login", **ended(large)), 413, "body_too_large")
    assert len(large.left) > 4_000  # the rest was not read

    for limit in (10, None):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = limit
        response = mounted.post("login", **ended(InPieces(b"{}".ljust(20))))
        problem(response, 413 if limit else 422, "body_too_large" if limit else "validation_error")


def test_a_body_that_is_shorter_than_it_says_is_refused(mounted: Api, user: Any) -> None:
    pair = mounted.pair()
    body = json.dumps({"refresh_token": pair["refresh_token"]}).encode()

    stream = {**ended(BytesIO(body)), "CONTENT_LENGTH": str(len(body) + 1)}
    problem(mounted.post("logout", **stream), 400, "malformed_body")

    assert mounted.is_in(pair["access_token"])


def test_a_compressed_body_is_refused_and_not_taken_for_none(mounted: Api, user: Any) -> None:
    pair = mounted.pair()
    body = gzip.compress(json.dumps({"refresh_token": pair["refresh_token"]}).encode())

    response = mounted.post("logout", body, HTTP_CONTENT_ENCODING="gzip")

    problem(response, 415, "unsupported_content_coding")
    assert response["Accept-Encoding"] == "identity"
    assert mounted.is_in(pair["access_token"])


def test_a_wrong_password_is_challenged_without_blaming_a_token(mounted: Api, user: Any) -> None:
    assert mounted.login(password="wrong wrong wrong")["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["me", "sessions", "verify-email"])
def test_head_is_answered_like_get_without_the_body(mounted: Api, user: Any, path: str) -> None:
    token = mounted.pair()["access_token"]

    got, asked = mounted.get(path, token=token), mounted("HEAD", path, token=token)

    assert (got.status_code, asked.status_code) == (200, 200)
    assert asked.content == b""
    assert asked["Content-Type"] == got["Content-Type"]


@pytest.mark.parametrize("path", ["", "nothing", "login/", "login/more", "me/x", "%00", "..", "sessions/"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_a_problem_too(api: Api, path: str, method: str) -> None:
    problem(api(method, path), 404, "not_found")


@pytest.mark.security("CRED-19")
def test_no_answer_repeats_what_was_sent(mounted: Api) -> None:
    canary = "c4n4ry-7f3a"
    bodies = [
        {"email": canary, "password": canary, "username": canary, f"{canary} {canary}": canary},
        {"password": canary, f"a{canary * 5}": canary},
        {"email": f"{canary}\x00", "password": [canary], "token": {canary: canary}, "refresh_token": canary * 500},
        {"refresh_token": canary, "username": canary, "password": canary},
    ]

    answers = [mounted.post(path, body) for path in (*BODIES, "logout") for body in bodies]
    answers += [
        mounted.post("login", f'{{"{canary}": {canary}'.encode()),
        mounted.get(canary),
        mounted.get("me", token=canary),
    ]

    for answer in answers:
        assert answer.status_code < 500
        assert canary not in answer.content.decode() + str(answer.headers)


@pytest.mark.security("HTTP-01")
def test_nothing_is_ever_stored(mounted: Api, user: Any) -> None:
    pair = mounted.pair()
    token = pair["access_token"]
    answers = [
        mounted.login(),
        mounted.login(password="wrong wrong wrong"),
        mounted.post("refresh", {"refresh_token": pair["refresh_token"]}),
        mounted.get("me", token=token),
        mounted.get("me"),
        mounted.get("sessions", token=token),
        mounted.get("verify-email"),
        mounted.get("login"),
        mounted.post("logout"),
        mounted.post("register", {}),
        mounted.post("login", b"{"),
    ]

    assert {answer["Cache-Control"] for answer in answers} == {"no-store"}


@pytest.mark.security("HTTP-04")
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("path", BODIES)
def test_a_failure_of_ours_says_nothing_about_the_inside(
    mounted: Api, monkeypatch: pytest.MonkeyPatch, settings: Settings, path: str, debug: bool
) -> None:
    settings.DEBUG = debug

    def fail(**_: Any) -> None:
        raise RuntimeError("the secret of the inside")

    for name in ("register", "verify_email", "resend_verification", "login", "refresh"):
        monkeypatch.setattr(services, name, fail)

    response = mounted.post(path, {**BODIES[path], **({"username": "x"} if path == "register" else {})})

    if response.status_code == 422:  # an email-only user model does not accept a username
        response = mounted.post(path, BODIES[path])
    problem(response, 500, "server_error")
    assert b"inside" not in response.content
    assert b"Traceback" not in response.content


@pytest.mark.security("AUD-03", "AUD-04")
def test_a_row_that_breaks_a_rule_of_the_hosts_database_is_not_quoted_in_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    table = get_user_model()._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT no_newcomers CHECK (is_active IS NULL) NOT VALID')

    problem(api.register("newcomer@example.com"), 500, "server_error")

    assert "no_newcomers" in caplog.text
    assert "DETAIL" not in caplog.text
    assert "newcomer@example.com" not in caplog.text
    assert "md5$" not in caplog.text


def test_what_an_error_carries_beside_its_text_is_left_alone_and_not_printed() -> None:
    class Touchy:
        def __repr__(self) -> str:
            raise RuntimeError("a query in a transaction that is broken")

    error = ProtectedError("Cannot delete.\nDETAIL: all of it", {Touchy()})  # type: ignore[arg-type]  # usually a row

    clear_local_variables(error)

    assert error.args == ("Cannot delete.", set)


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize("debug", [True, False])
def test_a_database_that_is_away_is_a_503(
    mounted: Api, monkeypatch: pytest.MonkeyPatch, settings: Settings, error: type[Exception], debug: bool
) -> None:
    settings.DEBUG = debug

    def fail(*_: Any, **__: Any) -> None:
        raise error("connection to server at 10.0.0.7 failed")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", fail)

    for path, body in BODIES.items():
        if path == "refresh":
            continue  # an invalid refresh token is rejected without a query
        body = {**body, "username": "ada"} if path == "register" and users_have_names() else body
        response = mounted.post(path, body)
        problem(response, 503, "service_unavailable")
        assert b"10.0.0.7" not in response.content


def test_a_dead_database_is_a_503_for_a_real_server(servers: Callable[..., Server], user: Any) -> None:
    server = servers()
    _, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    server.stop()
    dead = servers(environment={"DATABASE_URL": "postgres://postgres@127.0.0.1:9/nothing"})

    for method, path, body, token in [
        ("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD}, None),
        ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, None),
        ("POST", "/api/auth/logout", {"refresh_token": pair["refresh_token"]}, None),
        ("GET", "/api/auth/me", None, pair["access_token"]),
        ("GET", "/host/sync", None, pair["access_token"]),
        ("GET", "/plain/guarded", None, pair["access_token"]),
    ]:
        status, answer = dead.request(method, path, body, token=token)
        assert status == 503, (path, answer)
