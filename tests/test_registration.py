"""Registration, over HTTP."""

import logging
import quopri
import re
import unicodedata
from collections.abc import Callable
from itertools import chain, repeat
from smtplib import SMTPRecipientsRefused
from typing import Any

import pytest
from django.conf import global_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.models import EmailAddress, OneTimeToken, UserSession
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.services import registration
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token, users_have_names
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]

OTHER_PASSWORD = "another horse, another battery"


def only_user() -> Any:
    return get_user_model().objects.get()


def codes(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 422, response.content
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


def test_a_new_address_gets_an_unverified_account_and_a_mail_with_a_link(api: Api) -> None:
    response = api.register()

    assert response.status_code == 202
    assert set(response.json()) == {"detail"}
    user = only_user()
    assert user.email == EMAIL
    assert user.check_password(PASSWORD)
    assert user.authkit_email.verified_at is None
    assert not UserSession.objects.exists()
    (message,) = mail.outbox
    assert message.to == [EMAIL]
    assert "https://example.com/api/auth/verify-email#token=nako_" in message.body
    assert mailed_token() in message.alternatives[0].content


@pytest.mark.security("CRED-01")
def test_the_answer_is_the_same_for_every_address(api: Api, make_user: Callable[..., Any]) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    addresses = ["new@example.com", "verified@example.com", "pending@example.com", "disabled@example.com"]

    answers = [api.register(address, username=f"name{number}") for number, address in enumerate(addresses)]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1


@pytest.mark.security("CRED-02")
def test_a_verified_account_is_not_touched_and_its_owner_is_told(api: Api, user: Any) -> None:
    before = {"password": user.password, "username": user.get_username()}

    api.register(password=OTHER_PASSWORD, username="intruder")

    user.refresh_from_db()
    assert {"password": user.password, "username": user.get_username()} == before
    (message,) = mail.outbox
    assert message.to == [EMAIL]
    assert "already have an account" in message.subject
    assert "token" not in message.body
    assert api.login().status_code == 200


def test_a_disabled_account_is_not_touched_and_gets_no_mail(api: Api, make_user: Callable[..., Any]) -> None:
    user = make_user(is_active=False)

    api.register(password=OTHER_PASSWORD, username="intruder")

    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert mail.outbox == []


@pytest.mark.security("VER-10")
def test_a_second_registration_of_an_unverified_address_replaces_the_first(api: Api) -> None:
    api.register(password="the password of who came first")
    first_token = mailed_token()

    api.register(password=OTHER_PASSWORD)

    assert only_user().check_password(OTHER_PASSWORD)
    body = {"token": first_token, "password": "the password of who came first"}
    assert api.post("verify-email", body).status_code == 400
    assert api.post("verify-email", {**body, "token": mailed_token()}).status_code == 400
    assert api.login(password="the password of who came first").status_code == 401
    assert api.post("verify-email", {"token": mailed_token(), "password": OTHER_PASSWORD}).status_code == 200
    assert api.login(password=OTHER_PASSWORD).status_code == 200


def test_a_second_registration_takes_the_new_name_too(api: Api) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    api.register(username="first")

    api.register(username="second")

    assert only_user().username == "second"


@pytest.mark.parametrize("rights", [{"is_staff": True}, {"is_superuser": True}])
def test_an_unverified_user_with_rights_is_never_replaced(
    api: Api, make_user: Callable[..., Any], rights: dict[str, bool]
) -> None:
    user = make_user(verified=False, **rights)

    api.register(password=OTHER_PASSWORD)

    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize("spelling", [EMAIL, "Ada@Example.com"])
def test_a_user_from_before_the_kit_is_never_replaced(api: Api, make_user: Callable[..., Any], spelling: str) -> None:
    user = make_user(spelling)
    EmailAddress.objects.all().delete()
    # A link alone must not make the account replaceable.
    api.post("verify-email/resend", {"email": spelling})

    assert api.register(EMAIL, OTHER_PASSWORD, username="intruder").status_code == 202

    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert get_user_model().objects.count() == 1
    assert "already have an account" in mail.outbox[-1].subject


def test_an_address_that_its_former_user_has_left_can_be_registered(api: Api, user: Any) -> None:
    type(user).objects.update(email="elsewhere@example.com")  # changed by an administrator

    assert api.register(username="newcomer").status_code == 202

    newcomer = get_user_model().objects.get(email=EMAIL)
    assert newcomer.pk != user.pk
    assert newcomer.authkit_email.canonical == EMAIL
    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200


def test_without_verification_nobody_is_replaced(api: Api, kit: Callable[..., None]) -> None:
    kit(EMAIL_VERIFICATION_REQUIRED=False)
    api.register()

    api.register(password=OTHER_PASSWORD, username="intruder")

    assert only_user().check_password(PASSWORD)
    assert api.login().status_code == 200


def test_a_taken_username_is_the_only_conflict_that_is_told(api: Api, make_user: Callable[..., Any]) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    make_user("bob@example.com", username="bob")

    answers = [api.register(address, username="bob") for address in ("new@example.com", "bob@example.com")]

    assert codes(answers[0]) == {("username", "username_taken")}
    assert answers[0].content == answers[1].content
    assert mail.outbox == []


def test_the_name_of_a_pending_registration_is_free_for_its_own_address_alone(api: Api) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    api.register(username="ada")

    assert api.register(username="ada").status_code == 202
    assert codes(api.register("eve@example.com", username="ada")) == {("username", "username_taken")}


def test_a_name_is_required_where_users_have_one_and_refused_where_they_have_none(api: Api) -> None:
    body = {"email": EMAIL, "password": PASSWORD}
    if users_have_names():
        assert codes(api.post("register", body)) == {("username", "required")}
        code = "invalid_username" if has_username() else "invalid"
        assert codes(api.post("register", {**body, "username": "no spaces"})) == {("username", code)}
    else:
        assert codes(api.post("register", {**body, "username": "ada"})) == {("username", "unknown_field")}


@pytest.mark.security("CRED-03")
def test_a_weak_password_is_refused_alike_for_known_and_unknown_addresses(api: Api, user: Any) -> None:
    answers = [api.register(address, "short", username="x") for address in (EMAIL, "new@example.com")]

    assert codes(answers[0]) == {("password", "password_too_short")}
    assert answers[0].content == answers[1].content


@pytest.mark.security("CRED-13")
def test_without_validators_of_the_host_a_password_has_at_least_15_characters(api: Api) -> None:
    assert codes(api.register(password="fourteen chars")) == {("password", "password_too_short")}
    assert api.register(password="fifteen chars !").status_code == 202


@pytest.mark.security("CRED-13")
def test_validators_of_the_host_decide_but_never_below_8_characters(api: Api, settings: Settings) -> None:
    validator = "django.contrib.auth.password_validation.MinimumLengthValidator"
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": validator, "OPTIONS": {"min_length": 4}}]

    assert codes(api.register(password="seven77")) == {("password", "password_too_short")}
    assert api.register(password="eight888").status_code == 202


@pytest.mark.security("CRED-14")
@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("ada@example.com", "password_too_similar"),
        ("yfdbufnjh10305070", "password_too_common"),
        ("example.com2026!", "password_too_common"),
        ("Example Example 1", "password_too_common"),
    ],
)
def test_a_password_that_one_would_guess_is_refused_with_the_reason(api: Api, password: str, code: str) -> None:
    assert ("password", code) in codes(api.register(password=password))


@pytest.mark.security("CRED-14")
@pytest.mark.parametrize("password", ["wonderful bookshop", "Bookshop-wonderful 7", "bookshopbookshop"])
def test_the_name_of_the_site_is_no_password(api: Api, kit: Callable[..., None], password: str) -> None:
    kit(SITE_NAME="Wonderful Bookshop")

    assert ("password", "password_too_common") in codes(api.register(password=password))


@pytest.mark.security("CRED-14")
def test_the_name_of_the_mailbox_is_no_password_however_long_the_domain(api: Api) -> None:
    mailbox = "ada.lovelace.math"

    response = api.register(f"{mailbox}@a-domain-with-a-very-long-name.example.org", mailbox.title(), username="ada")

    assert codes(response) == {("password", "password_too_common")}


@pytest.mark.security("CRED-15")
def test_a_password_is_stored_as_the_first_hasher_of_the_host_has_it(api: Api, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS

    api.register()

    algorithm, iterations, _, _ = get_user_model().objects.get().password.split("$")
    assert algorithm == "pbkdf2_sha256"
    assert int(iterations) >= 600_000  # ASVS appendix C


@pytest.mark.security("CRED-14")
def test_nothing_is_asked_of_what_a_long_password_is_made_of(api: Api) -> None:
    assert api.register(password="bcdfghjklmnpqrstvwxz").status_code == 202
    assert api.register("b@example.com", "an example of a passphrase", username="b").status_code == 202


@pytest.mark.security("CRED-13")
def test_a_password_of_more_than_1024_bytes_is_refused_before_it_is_hashed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_user_model(), "set_password", lambda *_: pytest.fail("the password was hashed"))

    assert codes(api.register(password="é" * 513)) == {("password", "password_too_long")}
    assert codes(api.register(password="x" * 1025)) == {("password", "too_long")}


@pytest.mark.security("CRED-12")
@pytest.mark.parametrize(
    "password",
    [
        "  spaces before and after  ",
        "naïve " + unicodedata.normalize("NFD", "café") + " password",
        "🔐 emoji are characters too 🔐",
        "x" * 128,
    ],
)
def test_a_password_is_taken_in_full_and_is_not_trimmed(api: Api, password: str) -> None:
    api.register(password=password)
    api.post("verify-email", {"token": mailed_token(), "password": password})

    assert api.login(password=password).status_code == 200
    changed = {password.strip(), password.upper(), password[:72]} - {password}
    assert changed
    assert {api.login(password=other).status_code for other in changed} == {401}


@pytest.mark.security("CRED-08")
def test_one_mailbox_is_one_account_however_it_is_spelled(api: Api) -> None:
    api.register("Foo@EXAMPLE.com")
    assert mail.outbox[-1].to == ["Foo@EXAMPLE.com"]
    api.post("verify-email", {"token": mailed_token(), "password": PASSWORD})

    api.register("foo@example.com", OTHER_PASSWORD, username="other")

    assert only_user().authkit_email.canonical == "foo@example.com"
    assert api.login("fOO@example.COM").status_code == 200


@pytest.mark.security("CRED-08")
def test_both_spellings_of_an_international_domain_are_one(api: Api) -> None:
    api.register("ada@exämple.com")
    api.register("ada@xn--exmple-cua.com", username="other")

    assert only_user().authkit_email.canonical == "ada@xn--exmple-cua.com"


@pytest.mark.security("CRED-09", "CRED-10")
@pytest.mark.parametrize(
    "address",
    [
        "Foo <a@example.com>",
        "a@example.com,b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        '"a b"@example.com',
        "a@[127.0.0.1]",
        "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com",
        "a@example",
        "@example.com",
        "a@",
        "a",
        "",
        "a@@example.com",
        "\u212aelvin@example.com",
        "\u017ftrong@example.com",
        "d\u0131nner@example.com",
        "D\u0130nner@example.com",
        "\uff41da@example.com",
        "zero\u200bwidth@example.com",
        "right\u202eleft@example.com",
        "cafe\u0301@example.com",
        "ada@\uff45xample.com",
        "ada@example\u3002com",
        "ada@\u212aelvin.com",
        "ada@ex..com",
        "ada@-example.com",
    ],
)
def test_what_is_no_plain_address_is_refused_and_gets_no_mail(api: Api, address: str) -> None:
    response = api.register(address, username="name")

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {"email"}
    assert mail.outbox == []
    assert not get_user_model().objects.exists()


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize("field", ["is_staff", "is_superuser", "is_active", "email_verified", "id", "sid"])
def test_a_field_that_does_not_belong_is_refused_by_its_name(api: Api, field: str) -> None:
    body = {"email": EMAIL, "password": PASSWORD, field: True}
    if users_have_names():
        body["username"] = "ada"

    response = api.post("register", body)

    assert codes(response) == {(field, "unknown_field")}
    assert not get_user_model().objects.exists()


def test_the_email_field_of_the_host_has_a_say(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_ours(value: str) -> None:
        if not value.endswith("@example.com"):
            raise ValidationError("%(value)s is none of us", params={"value": value})

    monkeypatch.setattr(get_user_model()._meta.get_field("email"), "validators", [only_ours])

    response = api.register("eve@example.org")

    assert codes(response) == {("email", "invalid_email")}
    assert b"eve@example.org" not in response.content
    assert api.register().status_code == 202


def test_an_address_of_a_user_whom_the_default_manager_hides_is_in_use(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = get_user_model()._default_manager
    shown = manager.get_queryset
    monkeypatch.setattr(manager, "get_queryset", lambda: shown().exclude(email=EMAIL))

    assert api.register(username="other").status_code == 202

    assert get_user_model()._base_manager.count() == 1
    assert mail.outbox == []


def test_users_are_locked_even_where_the_default_manager_aggregates(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = get_user_model()._default_manager
    shown = manager.get_queryset
    monkeypatch.setattr(manager, "get_queryset", lambda: shown().annotate(count=Count("sessions")))

    assert api.login().status_code == 200


@pytest.mark.security("CRED-08")
@pytest.mark.parametrize("spelling", ["ada@xn--bcher-kva.example", "ada@BÜCHER.example", "Ada@bücher.example"])
def test_a_user_from_before_the_kit_keeps_an_international_address_however_it_is_spelled(
    api: Api, spelling: str
) -> None:
    model = get_user_model()
    model.objects.create(email="ada@bücher.example", **({"username": "old"} if users_have_names() else {}))

    assert api.register(spelling, username="new").status_code == 202

    assert model.objects.count() == 1


@pytest.mark.security("CRED-01")
def test_without_a_page_for_the_link_nothing_is_stored_and_all_addresses_answer_alike(
    api: Api, user: Any, kit: Callable[..., None], outside_tests: None
) -> None:
    kit(BASE_URL=None)

    answers = [api.register("new@example.com"), api.register(username="other")]
    answers += [api.post("verify-email/resend", {"email": email}) for email in (EMAIL, "nobody@example.com")]

    assert {answer.status_code for answer in answers} == {500}
    assert len({answer.content for answer in answers}) == 1
    assert get_user_model().objects.count() == 1


def test_registration_can_be_closed(api: Api, kit: Callable[..., None]) -> None:
    kit(REGISTRATION_OPEN=False)

    response = api.register()

    assert (response.status_code, response.json()["code"]) == (403, "registration_closed")
    assert not get_user_model().objects.exists()


def test_when_the_mail_server_is_down_the_registration_stands_and_resend_works(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise SMTPRecipientsRefused({EMAIL: (550, b"no")})

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(emails, "send", refuse)
        assert api.register().status_code == 202
    assert "SMTPRecipientsRefused" in caplog.text
    assert EMAIL not in caplog.text

    api.post("verify-email/resend", {"email": EMAIL})

    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200


def test_a_registration_that_another_of_the_same_address_overtakes_is_not_told_that_its_name_is_taken(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    api.register(username="ada")
    # The first look-up finds no user, as if it ran before the other registration was committed.
    lookups = chain([lambda email: None], repeat(registration.find_holder))
    monkeypatch.setattr(registration, "find_holder", lambda email: next(lookups)(email))
    assert api.register(username="ada").status_code == 202
    assert get_user_model().objects.count() == 1


@pytest.mark.race
@pytest.mark.security("CRED-04")
def test_twenty_registrations_of_one_address_at_once_make_one_user_and_one_link_that_works(
    api: Api, servers: Callable[..., Server], tmp_path: Any, settings: Settings
) -> None:
    backend = "django.core.mail.backends.filebased.EmailBackend"
    hasher = "django.contrib.auth.hashers.PBKDF2PasswordHasher"  # as slow as in production
    settings.PASSWORD_HASHERS = [hasher]
    environment = {"TEST_MAIL_BACKEND": backend, "TEST_MAIL_PATH": str(tmp_path), "TEST_HASHER": hasher}
    server = servers(environment=environment)
    body = {"email": EMAIL, "password": PASSWORD} | ({"username": "ada"} if users_have_names() else {})

    answers = server.race(*[("POST", "/api/auth/register", body)] * 20)
    server.stop()

    assert [status for status, _ in answers] == [202] * 20
    assert get_user_model().objects.count() == 1
    assert EmailAddress.objects.get().canonical == canonical_email(EMAIL)
    assert 1 <= OneTimeToken.objects.count() <= 5
    # One email, and another for each request that began after an earlier one had ended, because it
    # replaced that registration.
    mails = [quopri.decodestring(path.read_bytes()).decode(errors="replace") for path in tmp_path.iterdir()]
    links = {link for text in mails for link in re.findall(r"nako_[\w-]+", text)}
    verified = [api.post("verify-email", {"token": link, "password": PASSWORD}).status_code for link in links]
    assert verified.count(200) == 1


@pytest.mark.race
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, "free@example.com"])
def test_of_two_registrations_with_one_name_at_once_one_is_told_whosever_the_address_is(
    servers: Callable[..., Server], user: Any, address: str
) -> None:
    if not users_have_names():
        pytest.skip("the user model has no username")
    server = servers(environment={"TEST_HASHER": "django.contrib.auth.hashers.PBKDF2PasswordHasher"})
    for number in range(4):
        mine = {"email": f"mine{number}@example.com", "password": PASSWORD, "username": f"wanted{number}"}
        probe = {"email": address, "password": PASSWORD, "username": f"wanted{number}"}

        answers = server.race(("POST", "/api/auth/register", mine), ("POST", "/api/auth/register", probe))

        assert sorted(status for status, _ in answers) == [202, 422]


@pytest.mark.security("CRED-01")
def test_a_registration_that_is_turned_away_takes_no_second_connection(
    api: Api, user: Any, audited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do not open a second connection, whose milliseconds would show that the address is taken."""
    monkeypatch.setattr(outbox, "write_separately", lambda *_, **__: pytest.fail("a second connection was opened"))

    assert api.register(username="other").status_code == 202

    assert event_names() == ["user.registration_failed"]


@pytest.mark.security("CRED-05", "CRED-06")
def test_the_password_of_a_registration_asks_the_database_as_often_whoever_has_the_address(
    api: Api, make_user: Callable[..., Any]
) -> None:
    make_user("used@example.com")
    counts = []
    for email in ("used@example.com", "free@example.com"):
        api.register(email, "the password of a newcomer", username=f"newcomer_{email[:4]}")
        with CaptureQueriesContext(connection) as queries:
            assert api.login(email, "the password of a newcomer").status_code == 403
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.security("CRED-05", "CRED-06")
def test_the_password_of_a_registration_reads_no_session_whoever_has_the_address(
    api: Api, kit: Callable[..., None], make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(SESSION_LIMIT=3)
    owner = make_user("used@example.com")
    for _ in range(3):
        issue_tokens(owner)
    from_db, read = UserSession.from_db, []

    def note(*args: Any) -> Any:
        read.append(args)
        return from_db(*args)

    monkeypatch.setattr(UserSession, "from_db", note)
    for email in ("used@example.com", "free@example.com"):
        api.register(email, "the password of a newcomer", username=f"newcomer_{email[:4]}")
        assert api.login(email, "the password of a newcomer").status_code == 403
    assert read == []

    assert api.login("used@example.com", PASSWORD).status_code == 200
    assert len(read) == 3
