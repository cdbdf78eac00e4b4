"""Login, over HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model, user_logged_in, user_login_failed
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.models import EmailAddress, UserSession
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token, users_have_names
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
def test_every_refusal_costs_two_hashes_and_as_many_queries(
    api: Api, make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user()
    make_user("shadowed@example.com")
    make_user("disabled@example.com", is_active=False)
    make_user("passwordless@example.com", password=None)
    api.register("shadowed@example.com", "the password of a stranger", username="wanted")
    api.register("pending@example.com", "the password of a stranger")
    hashes: list[int] = []
    encode = MD5PasswordHasher.encode
    counted = lambda *args, **kwargs: hashes.append(1) or encode(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)

    def cost(email: str, password: str) -> tuple[int, int, int]:
        hashes.clear()
        with CaptureQueriesContext(connection) as queries:
            status = api.login(email, password).status_code
        return status, len(hashes), len(queries)

    wrong = "wrong wrong wrong"
    assert cost("nobody@example.com", wrong) == (401, 2, 3)
    assert cost(EMAIL, wrong) == (401, 2, 3)
    assert cost("shadowed@example.com", wrong) == (401, 2, 3)
    assert cost("pending@example.com", wrong) == (401, 2, 3)
    assert cost("disabled@example.com", wrong) == (401, 2, 3)
    assert cost("disabled@example.com", PASSWORD) == (401, 2, 3)
    assert cost("passwordless@example.com", PASSWORD) == (401, 2, 3)
    assert cost("shadowed@example.com", "the password of a stranger")[:2] == (403, 2)
    assert cost("pending@example.com", "the password of a stranger")[:2] == (403, 2)
    assert cost(EMAIL, PASSWORD)[:2] == (200, 1)


LOOK_ALIKES = {
    "kelvin@example.com": ["\u212aelvin@example.com"],
    "strong@example.com": ["\u017ftrong@example.com"],
    "dinner@example.com": ["d\u0131nner@example.com", "d\u0130nner@example.com"],
    "ada@example.com": [
        "\uff41da@example.com",
        "ada\u200b@example.com",
        "\u202eada@example.com",
        "ada@\uff45xample.com",
    ],
    "cafe@example.com": ["caf\u00e9@example.com", "cafe\u0301@example.com"],
}


@pytest.mark.security("CRED-09")
@pytest.mark.parametrize("email", LOOK_ALIKES)
def test_what_looks_like_an_address_is_not_that_address(api: Api, make_user: Callable[..., Any], email: str) -> None:
    make_user(email)

    for spelling in LOOK_ALIKES[email]:
        assert api.login(spelling).status_code == 401
        assert api.post("password/reset", {"email": spelling}).status_code == 422
        assert api.post("verify-email/resend", {"email": spelling}).status_code == 422

    assert mail.outbox == []
    assert api.login(email).status_code == 200


def test_a_username_that_looks_like_somebodys_address_is_not_that_address(
    api: Api, make_user: Callable[..., Any]
) -> None:
    if not has_username():
        pytest.skip("the user model has no username")
    make_user("eve@example.com", "the password of eve", username="ada@example.com")

    assert api.login("ada@example.com", "the password of eve").status_code == 401


def test_a_username_is_normalised_at_login_as_at_registration(api: Api, make_user: Callable[..., Any]) -> None:
    if not has_username():
        pytest.skip("the user model has no username")
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
            f"INSERT INTO {UserSession._meta.db_table} (id, {columns}) "
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
    """A backend with other credentials, which must be skipped."""

    def authenticate(self, request: Any, shout: str | None = None, **kwargs: Any) -> Any:
        raise AssertionError("called with credentials that it does not support")


class OtherCredentials(BaseBackend):
    """A backend whose credentials have other names, which must be skipped."""

    def authenticate(self, request: Any, badge: str) -> Any:
        raise AssertionError("called with credentials that it does not support")


class LockingBackend(BaseBackend):
    """A backend like those of lockout packages: it requires the request and rejects the login."""

    def authenticate(self, request: Any, **kwargs: Any) -> Any:
        assert request is not None
        raise PermissionDenied


def test_login_goes_through_djangos_backends(api: Api, user: Any, settings: Settings) -> None:
    django_backend = f"{ModelBackend.__module__}.{ModelBackend.__qualname__}"
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OtherCredentials", django_backend]
    assert api.login().status_code == 200

    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.LockingBackend", django_backend]
    assert api.login().status_code == 401


class RealmBackend(ModelBackend):
    """A backend that a factory of the project creates."""

    def __init__(self, realm: str) -> None:
        self.realm = realm


def backend_of_the_realm() -> RealmBackend:
    return RealmBackend("realm")


class StaticBackend(BaseBackend):
    """A backend whose `authenticate` is a static method."""

    @staticmethod
    def authenticate(request: Any, username: str, password: str) -> Any:
        return get_user_model().objects.get() if password == PASSWORD else None


@pytest.mark.parametrize("backend", ["backend_of_the_realm", "StaticBackend"])
def test_a_backend_may_be_made_as_the_host_likes(api: Api, user: Any, settings: Settings, backend: str) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{backend}"]

    assert api.login().status_code == 200
    assert api.login(password="wrong wrong wrong").status_code == 401


@pytest.mark.security("AUD-11")
def test_failing_receivers_of_the_host_break_no_login(api: Api, user: Any, audited: None) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("a receiver of the project failed")

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

    assert heard == [("in", user.pk), ("failed", {"username": user.get_username(), "password": "*" * 20})]


class AskedNames(ModelBackend):
    """Records the usernames that it is asked with."""

    names: list[str] = []

    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **_: Any) -> None:
        self.names.append(str(username))


@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(["nora@example.com", "Nora@Example.COM", " nora@example.com"], id="unknown"),
        pytest.param([EMAIL, EMAIL.upper()], id="known"),
        pytest.param(["no address", "No Address "], id="invalid"),
    ],
)
def test_lockout_packages_get_the_name_that_the_backends_get_in_one_spelling(
    api: Api, user: Any, spellings: list[str], settings: Settings
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.AskedNames"]
    AskedNames.names, failed = [], list[str]()

    def hear(credentials: dict[str, str], **_: Any) -> None:
        failed.append(credentials["username"])

    user_login_failed.connect(hear)
    try:
        for email in spellings:
            assert api.login(email, "wrong wrong wrong").status_code == 401
    finally:
        user_login_failed.disconnect(hear)

    assert len(failed) == len(spellings)
    assert len({*failed, *AskedNames.names}) == 1


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


@pytest.mark.security("CRED-01")
def test_whoever_registers_an_address_and_tries_the_password_does_not_learn_that_it_is_in_use(
    api: Api, user: Any, audited: None
) -> None:
    chosen = "the password of a stranger"
    for address in (EMAIL, "free@example.com"):
        api.register(address, chosen, username=address.partition("@")[0])

    used, free = (api.login(address, chosen) for address in (EMAIL, "free@example.com"))

    assert used.status_code == free.status_code == 403
    assert used.content == free.content
    assert event_names()[-2:] == ["session.login_failed", "session.login_failed"]
    assert api.login().status_code == 200
    assert api.login(EMAIL, "wrong wrong wrong").status_code == 401


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("stored", [["ADA@Example.com"], [EMAIL, EMAIL.upper()]])
def test_nor_of_one_that_only_the_host_knows(api: Api, stored: list[str]) -> None:
    for number, address in enumerate(stored):
        name = {"username": f"old{number}"} if users_have_names() else {}
        get_user_model().objects.create(email=address, password=make_password(PASSWORD), **name)
    chosen = "the password of a stranger"
    for address in (EMAIL, "free@example.com"):
        assert api.register(address, chosen, username=address.partition("@")[0]).status_code == 202

    used, free = (api.login(address, chosen) for address in (EMAIL, "free@example.com"))

    assert used.status_code == free.status_code == 403


def test_who_registers_again_with_the_password_that_the_account_has_can_still_log_in(api: Api, user: Any) -> None:
    api.register(EMAIL, PASSWORD)

    assert api.login().status_code == 200


@pytest.mark.security("CRED-01")
def test_a_name_is_as_taken_after_a_registration_that_led_nowhere(api: Api, user: Any) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    for address in (EMAIL, "free@example.com"):
        api.register(address, username=address.partition("@")[0])

    for name in ("ada", "free"):
        assert api.register("other@example.com", username=name).status_code == 422
        if has_username():
            assert api.post("login", {"username": name, "password": PASSWORD}).status_code == 403
    assert api.register(username="ada").status_code == 202
    assert api.register("free@example.com", username="free").status_code == 202


class StrongerHasher(MD5PasswordHasher):
    """A new preferred hasher, with which each login renews the hash of the password."""

    algorithm = "stronger"


STRONGER = ["tests.test_login.StrongerHasher", "django.contrib.auth.hashers.MD5PasswordHasher"]


def test_a_login_that_renews_the_hash_ends_no_other_session(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    kit(SESSION_LIMIT=2)
    phone = api.pair()
    settings.PASSWORD_HASHERS = STRONGER

    laptop = api.pair()

    user.refresh_from_db()
    assert user.password.startswith("stronger$")
    assert api.is_in(phone["access_token"])
    assert api.is_in(laptop["access_token"])


def failing_claims(user: Any, session: Any) -> dict[str, Any]:
    """Return no claims: the code of the project fails."""
    raise RuntimeError("the claims of the project failed")


REFUSALS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "the limit is reached": (409, {"SESSION_LIMIT_POLICY": "reject"}, {}),
    "the address is not verified": (403, {}, {"verified_at": None}),
    "the claims fail": (500, {"ACCESS_TOKEN_CLAIMS": f"{__name__}.failing_claims"}, {}),
}


@pytest.mark.security("SES-01")
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_login_that_renews_the_hash_ends_no_session_and_no_link(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings, refusal: str
) -> None:
    status, keys, address = REFUSALS[refusal]
    kit(SESSION_LIMIT=1)
    pair = api.pair()
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=pair["access_token"])
    emails.flush()
    link = mailed_token(next(i for i, message in enumerate(mail.outbox) if message.to == ["new@example.com"]))
    kit(**keys)
    EmailAddress.objects.filter(user=user).update(**address) if address else None
    settings.PASSWORD_HASHERS = STRONGER

    for _ in range(2):
        assert api.login().status_code == status

    user.refresh_from_db()
    assert user.password.startswith("stronger$")
    kit(ACCESS_TOKEN_CLAIMS=None)
    assert api.is_in(pair["access_token"])
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200
    assert UserSession.objects.get().is_active
    assert api.post("email/change/confirm", {"token": link}).status_code == 204


@pytest.mark.security("SES-01")
def test_a_refused_login_that_renews_the_hash_keeps_a_reset_link(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    api.pair()
    UserSession.objects.update(login_time=timezone.now() - timedelta(minutes=5))
    api.post("password/reset", {"email": EMAIL})
    emails.flush()
    settings.PASSWORD_HASHERS = STRONGER
    assert api.login().status_code == 409

    new = {"token": mailed_token(), "new_password": "a new passphrase of many words"}

    assert api.post("password/reset/confirm", new).status_code == 204
    assert api.login(password=new["new_password"]).status_code == 200


class SavingBackend(ModelBackend):
    """A backend that renews the hash itself, by a statement of its own."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if user is not None:
            user.password = make_password(password)
            get_user_model().objects.filter(pk=user.pk).update(password=user.password)
        return user


@pytest.mark.security("SES-01")
def test_nor_does_one_whose_backend_writes_the_new_hash_itself(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    pair = api.pair()
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.SavingBackend"]

    assert [api.login().status_code for _ in range(3)] == [409] * 3

    assert api.is_in(pair["access_token"])


@pytest.mark.security("SES-11", "SES-14")
def test_a_password_that_changes_while_the_hash_is_renewed_ends_the_sessions(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    pair = api.pair()
    settings.PASSWORD_HASHERS = STRONGER
    check = get_user_model().check_password

    def overtaken(self: Any, raw_password: str) -> bool:
        changed = make_password("another password, a new one")
        get_user_model().objects.filter(pk=self.pk).update(password=changed)
        return bool(check(self, raw_password))

    monkeypatch.setattr(get_user_model(), "check_password", overtaken)

    assert api.login().status_code == 401

    assert not api.is_in(pair["access_token"])
    monkeypatch.undo()
    settings.PASSWORD_HASHERS = STRONGER
    assert api.login(password="another password, a new one").status_code == 200


def test_a_login_is_not_refused_because_another_renewed_the_hash_meanwhile(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticate = ModelBackend.authenticate

    def overtaken(self: Any, *args: Any, **kwargs: Any) -> Any:
        accepted = authenticate(self, *args, **kwargs)
        get_user_model().objects.update(password=make_password(PASSWORD))
        return accepted

    monkeypatch.setattr(ModelBackend, "authenticate", overtaken)

    assert api.login().status_code == 200


@pytest.mark.security("SES-11")
def test_a_password_that_was_changed_meanwhile_does_not_log_in(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticate = ModelBackend.authenticate

    def overtaken(self: Any, *args: Any, **kwargs: Any) -> Any:
        accepted = authenticate(self, *args, **kwargs)
        get_user_model().objects.update(password=make_password("another password, a new one"))
        return accepted

    monkeypatch.setattr(ModelBackend, "authenticate", overtaken)

    assert api.login().status_code == 401
    assert not active().exists()


class BanningBackend(ModelBackend):
    """A backend that bans users."""

    banned = False

    def user_can_authenticate(self, user: Any) -> bool:
        return not self.banned


@pytest.mark.security("SES-14")
def test_a_ban_by_the_backend_counts_on_the_next_request(
    api: Api, user: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.test_login.BanningBackend"]
    pair = api.pair()

    monkeypatch.setattr(BanningBackend, "banned", True)

    assert not api.is_in(pair["access_token"])
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.login().status_code == 401


def test_a_name_that_the_field_cannot_have_is_a_wrong_one(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_numbers(*_: Any, **__: Any) -> None:
        raise ValueError("Field 'number' expected a number but got 'x'.")

    monkeypatch.setattr(get_user_model()._default_manager, "get_by_natural_key", only_numbers)

    assert api.login().status_code == 401


@pytest.mark.race
def test_a_user_can_be_deleted_while_logging_in(servers: Callable[..., Server], make_user: Callable[..., Any]) -> None:
    server = servers(SESSION_LIMIT=None)
    for number in range(15):
        user = make_user(f"u{number}@example.com")
        body = {"email": user.email, "password": PASSWORD}
        server.request("POST", "/api/auth/login", body)
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(server.race, *[("POST", "/api/auth/login", body)] * 4)
            user.delete()
            assert {status for status, _ in answers.result()} <= {200, 401}
