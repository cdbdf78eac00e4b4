"""What people type: white space around a name, passwords in several spellings, and passwords that a hasher rejects."""

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import BasePasswordHasher, BCryptPasswordHasher, MD5PasswordHasher
from django.core import mail
from django.core.checks import run_checks
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)

# "é" as two code points, "ﬁ" as one letter, full-width digits: each has another normalised form.
TYPED = "cafe\u0301 de la gare, \ufb01n \uff11\uff12\uff13"
NORMALIZED = unicodedata.normalize("NFKC", TYPED)
HASHERS = "django.contrib.auth.hashers."
MD5, BCRYPT, BCRYPT_SHA256 = (
    HASHERS + name for name in ("MD5PasswordHasher", "BCryptPasswordHasher", "BCryptSHA256PasswordHasher")
)
LONG = "fourteen brown foxes jump over the lazy dog while seventeen owls watch from the tree"


@pytest.fixture(autouse=True)
def _quick_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BCryptPasswordHasher, "rounds", 4)
    monkeypatch.setattr("django.contrib.auth.hashers.BCryptSHA256PasswordHasher.rounds", 4)


def only_user() -> Any:
    return get_user_model().objects.get()


# White space


SPACES = [" {} ", "\t{}", "{}\r\n", "\u00a0{}\u3000", "{}\u2009"]


@pytest.mark.parametrize("around", SPACES)
def test_white_space_around_an_address_or_a_name_is_ignored_everywhere(api: Api, around: str) -> None:
    body = {"email": around.format("Grace@example.com"), "password": PASSWORD}
    if has_username():
        body["username"] = around.format("grace")

    assert api.post("register", body).status_code == 202
    user = only_user()
    assert user.email == "Grace@example.com"
    assert api.post("verify-email/resend", {"email": around.format("grace@example.com")}).status_code == 202
    api.post("verify-email", {"token": mailed_token(), "password": PASSWORD})
    assert api.login(around.format("grace@example.com")).status_code == 200
    name = around.format(user.get_username())
    pair = api.post("login", {"username": name, "password": PASSWORD})
    assert pair.status_code == 200
    token = pair.json()["access_token"]
    change = {"new_email": around.format("hopper@example.com"), "password": PASSWORD}
    assert api.post("email/change", change, token=token).status_code == 202
    assert api.post("email/change/confirm", {"token": mailed_token(-2)}).status_code == 204
    assert api.post("password/reset", {"email": around.format("hopper@example.com")}).status_code == 202
    assert mail.outbox[-1].to == [only_user().email] == ["hopper@example.com"]


@pytest.mark.parametrize("inside", ["gr ace@example.com", "grace@exam\nple.com", "\u200bgrace@example.com", "  ", ""])
def test_other_white_space_stays_an_error(api: Api, inside: str) -> None:
    assert api.register(inside, username="grace").status_code == 422
    assert api.post("password/reset", {"email": inside}).status_code == 422


def test_white_space_around_a_password_is_part_of_it(api: Api) -> None:
    api.register(password=f" {PASSWORD} ")
    api.post("verify-email", {"token": mailed_token(), "password": f" {PASSWORD} "})

    assert api.login(password=PASSWORD).status_code == 401
    assert api.login(password=f" {PASSWORD} ").status_code == 200


def test_a_long_margin_does_not_count_against_the_length_of_an_address(api: Api) -> None:
    assert api.register(" " * 300 + "grace@example.com", username="grace").status_code == 202


# The spellings of a password


@pytest.mark.security("CRED-12")
@pytest.mark.parametrize(("chosen", "typed"), [(TYPED, NORMALIZED), (NORMALIZED, TYPED), (TYPED, TYPED)])
def test_a_password_is_right_however_a_keyboard_spells_it(api: Api, chosen: str, typed: str) -> None:
    api.register(password=chosen)

    assert api.post("verify-email", {"token": mailed_token(), "password": typed}).status_code == 200
    token = api.pair(password=typed)["access_token"]
    change = {"current_password": typed, "new_password": f"{chosen} 2"}
    assert api.post("password/change", change, token=token).status_code == 204
    change_email = {"new_email": "new@example.com", "password": f"{typed} 2"}
    assert api.post("email/change", change_email, token=token).status_code == 202
    api.post("password/reset", {"email": EMAIL})
    api.post("password/reset/confirm", {"token": mailed_token(), "new_password": f"{chosen} 3"})
    token = api.pair(password=f"{typed} 3")["access_token"]
    assert api.delete("me", body={"password": f"{typed} 3"}, token=token).status_code == 204


@pytest.mark.parametrize("stored", [TYPED, unicodedata.normalize("NFD", NORMALIZED)])
def test_a_hash_that_was_made_elsewhere_is_that_of_the_password_as_typed(
    api: Api, make_user: Callable[..., Any], stored: str
) -> None:
    make_user(password=stored)

    token = api.pair(password=stored)["access_token"]
    assert api.login(password="something else").status_code == 401
    body = {"current_password": stored, "new_password": TYPED}
    assert api.post("password/change", body, token=token).status_code == 204
    assert api.login(password=NORMALIZED).status_code == 200


def test_only_the_normalised_form_of_a_new_password_is_stored(api: Api) -> None:
    api.register(password=TYPED)

    assert only_user().check_password(NORMALIZED)
    assert not only_user().check_password(TYPED)


@pytest.mark.security("CRED-06")
def test_a_password_with_two_spellings_costs_as_much_for_every_account(
    api: Api, make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("typed@example.com", TYPED)
    make_user("normalized@example.com", NORMALIZED)
    make_user("other@example.com", "quite another password")
    make_user("taken@example.com", "quite another password")
    api.register("taken@example.com", TYPED, username="taken_too")
    api.register("pending@example.com", TYPED)
    hashes: list[int] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda *args, **kwargs: hashes.append(1) or encode(*args, **kwargs)
    )

    def cost(name: str, password: str) -> tuple[int, int, int]:
        hashes.clear()
        with CaptureQueriesContext(connection) as queries:
            status = api.login(f"{name}@example.com", password).status_code
        return status, len(hashes), len(queries)

    refused = {cost(name, TYPED) for name in ("nobody", "other")}
    assert {(status, count) for status, count, _ in refused} == {(401, 4)}
    assert len(refused) == 1
    assert cost("taken", TYPED) == cost("pending", TYPED)
    assert cost("pending", TYPED)[:2] == (403, 4)
    assert cost("typed", TYPED) == cost("normalized", TYPED)
    assert cost("typed", TYPED)[:2] == (200, 2)
    assert cost("normalized", NORMALIZED)[:2] == (200, 1)


def test_a_wrong_password_with_two_spellings_is_one_attempt(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"login_account": "2/h"})

    statuses = [api.login(password=f"{TYPED} {number}").status_code for number in range(3)]

    assert statuses == [401, 401, 429]


@pytest.mark.one_user_model
@pytest.mark.parametrize("password", ["\ufdfa" * 16, "\u0344" * 400, "ﷺ" * 1024])
def test_the_length_of_a_password_is_that_of_its_normalised_form(api: Api, password: str) -> None:
    size = len(unicodedata.normalize("NFKC", password).encode())
    response = api.register(password=password)

    assert response.status_code == (202 if size <= 1024 else 422)
    if size > 1024:
        assert response.json()["errors"][0]["code"] == "password_too_long"


@pytest.mark.one_user_model
@pytest.mark.parametrize("password", ["\ufdfa", "\ufdfa\ufdfb", "\u33af" * 4])
def test_a_few_letters_that_become_many_once_normalised_are_too_short(api: Api, password: str) -> None:
    answer = api.register(password=password)

    assert [error["code"] for error in answer.json()["errors"]] == ["password_too_short"]


@pytest.mark.one_user_model
def test_a_password_that_is_short_once_normalised_is_too_short(api: Api) -> None:
    response = api.register(password="e\u0301" * 10)  # twenty code points as typed, ten letters

    assert {error["code"] for error in response.json()["errors"]} >= {"password_too_short"}


# Hashers with limits


@pytest.mark.one_user_model
@pytest.mark.parametrize("password", [LONG, "ж" * 37, LONG + "\U0001f98a"])
def test_a_password_that_bcrypt_cannot_take_is_rejected_when_it_is_set(
    api: Api, make_user: Callable[..., Any], settings: Settings, password: str
) -> None:
    settings.PASSWORD_HASHERS = [BCRYPT, MD5]
    make_user("taken@example.com")
    token = api.pair("taken@example.com")["access_token"]
    api.post("password/reset", {"email": "taken@example.com"})
    reset = mailed_token()

    answers = [
        api.register("new@example.com", password),
        api.register("taken@example.com", password),
        api.post("password/change", {"current_password": PASSWORD, "new_password": password}, token=token),
        api.post("password/reset/confirm", {"token": reset, "new_password": password}),
    ]

    for answer in answers:
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == (422, "password_too_long")
        assert "72 bytes" in error["message"]
    assert api.register("new@example.com", "ж" * 36).status_code == 202


@pytest.mark.one_user_model
@pytest.mark.parametrize("hashers", [[BCRYPT, MD5], [MD5, BCRYPT]])
def test_a_password_that_bcrypt_cannot_take_is_a_wrong_password(
    api: Api, make_user: Callable[..., Any], settings: Settings, hashers: list[str]
) -> None:
    settings.PASSWORD_HASHERS = [BCRYPT, MD5]
    imported = make_user("imported@example.com")
    make_user("pending@example.com", verified=False)
    api.post("verify-email/resend", {"email": "pending@example.com"})
    settings.PASSWORD_HASHERS = hashers
    token = issue_tokens(imported).access_token

    refusals = [api.login(email, LONG) for email in ("imported@example.com", "nobody@example.com")]
    confirmations = [
        api.post("password/change", {"current_password": LONG, "new_password": "a walk in the hills"}, token=token),
        api.delete("me", body={"password": LONG}, token=token),
        api.post("email/change", {"new_email": "x@example.com", "password": LONG}, token=token),
        api.post("verify-email", {"token": mailed_token(), "password": LONG}),
    ]

    assert {(answer.status_code, answer.content) for answer in refusals} == {(401, refusals[0].content)}
    assert [answer.status_code for answer in confirmations] == [403, 403, 403, 400]
    assert api.login("imported@example.com").status_code == 200


@pytest.mark.one_user_model
@pytest.mark.parametrize(
    "damaged",
    [
        "bcrypt$$2b$04$short",
        "pbkdf2_sha256$many$salt$hash",
        "pbkdf2_sha256$1",
        "argon2$argon2id$v=19$m=1$x",
        "scrypt$16384$salt$8",
        "unknown$hash",
        "md5$$",
        "",
        "!",
    ],
)
@pytest.mark.security("CRED-05")
def test_a_damaged_hash_gets_the_answer_of_a_wrong_password(
    api: Api, user: Any, settings: Settings, damaged: str
) -> None:
    names = ("MD5PasswordHasher", "PBKDF2PasswordHasher", "Argon2PasswordHasher", "ScryptPasswordHasher")
    settings.PASSWORD_HASHERS = [*(HASHERS + name for name in names), BCRYPT]
    get_user_model().objects.update(password=damaged)

    known, unknown = api.login(), api.login("nobody@example.com")

    assert (known.status_code, known.content) == (401, unknown.content)


class PickyHasher(BasePasswordHasher):
    """A hasher of a project that takes lower case only."""

    algorithm = "picky"

    def encode(self, password: str, salt: str) -> str:
        if not password.islower():
            raise ValueError("lower case only")
        return f"picky$${password[::-1]}"

    def verify(self, password: str, encoded: str) -> bool:
        return encoded == self.encode(password, "")

    def salt(self) -> str:
        return ""


class BrokenHasher(PickyHasher):
    """A hasher whose library is missing."""

    algorithm = "broken"

    def encode(self, password: str, salt: str) -> str:
        raise ValueError("Couldn't load the library")


@pytest.mark.one_user_model
def test_a_password_that_a_hasher_of_the_project_rejects_is_an_error_of_the_field(
    api: Api, settings: Settings
) -> None:
    settings.PASSWORD_HASHERS = ["tests.test_typing.PickyHasher"]

    refused, accepted = api.register(password="A Walk In The Hills"), api.register(password="a walk in the hills")

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "password")
    assert accepted.status_code == 202
    assert api.login(password="A Walk In The Hills").status_code == 401


@pytest.mark.one_user_model
def test_a_hasher_that_takes_no_password_is_a_fault_of_the_server(api: Api, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["tests.test_typing.BrokenHasher"]

    assert api.register(password="a walk in the hills").status_code == 500


@pytest.mark.one_user_model
@pytest.mark.parametrize(
    ("hashers", "is_warned"), [([BCRYPT, MD5], True), ([BCRYPT_SHA256, BCRYPT], False), ([MD5, BCRYPT], False)]
)
def test_the_deploy_check_recommends_a_bcrypt_without_the_limit(
    settings: Settings, hashers: list[str], is_warned: bool
) -> None:
    settings.PASSWORD_HASHERS = hashers

    found = [message for message in run_checks(include_deployment_checks=True) if message.id == "ninja_auth_kit.W029"]

    assert bool(found) == is_warned
    assert all("BCryptSHA256PasswordHasher" in str(message.hint) for message in found)
