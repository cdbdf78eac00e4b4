"""Email addresses in every spelling of their domain: IDNA 2008, the envelopes that leave, and `authkit_addresses`."""

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.email_addresses import canonical_email, readable_email
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import PASSWORD, Api
from tests.smtp import SMTPServer

pytestmark = pytest.mark.django_db(transaction=True)

# Each has the spellings of one domain; the first is its A-label.
DOMAINS = {
    "eszett": ["xn--groe-gste-i1a2d.example", "große-gäste.example", "GROßE-GÄSTE.example", "GROẞE-GÄSTE.EXAMPLE"],
    "final sigma": ["xn----qlb4bibndueh2h.example", "νέος-κόσμος.example"],
    "joiner": ["xn--10cl1a0b660p.example", "ශ්\u200dරී.example", "XN--10CL1A0B660P.example"],
    "decomposed": ["xn--mnchen-3ya.example", "münchen.example", "mu\u0308nchen.example", "MU\u0308NCHEN.example"],
    "right to left": ["xn--hqbpi0jcw.example", "ދިވެހި.example"],
    "emoji": ["xn--i-7iq.example", "XN--I-7IQ.EXAMPLE"],
    "no letters of it": ["xn--a-zzzzzzzz.example"],
    "two labels": ["xn--fa-hia.xn--strae-oqa.example", "faß.straße.example", "faß.xn--strae-oqa.example"],
}
NAMES = list(DOMAINS)


@pytest.fixture
def smtp(settings: Settings) -> Iterator[SMTPServer]:
    server = SMTPServer()
    server.use(settings)
    yield server
    server.stop()


def link(message: str) -> str:
    found = re.search(r"nako_[\w-]{43}", message.replace("=\r\n", ""))
    assert found is not None, message
    return found[0]


@pytest.mark.security("CRED-08")
@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_of_a_domain_is_one_account(api: Api, smtp: SMTPServer, name: str) -> None:
    a_label, *_ = spellings = DOMAINS[name]
    for number, spelling in enumerate(spellings):
        assert api.register(f"ada@{spelling}", username=f"ada{number}").status_code == 202

    assert get_user_model().objects.count() == 1
    assert EmailAddress.objects.get().canonical == f"ada@{a_label}"
    assert {recipient.lower() for recipient in smtp.recipients} == {f"ada@{a_label}"}
    assert api.post("verify-email", {"token": link(smtp.messages[-1]), "password": PASSWORD}).status_code == 200
    for spelling in spellings:
        assert api.login(f"ada@{spelling}").status_code == 200
        assert api.post("password/reset", {"email": f"ADA@{spelling}"}).status_code == 202
    assert len(smtp.recipients) == 2 * len(spellings)


@pytest.mark.security("CRED-09")
@pytest.mark.parametrize(
    ("one", "other"),
    [("ada@fußball.example", "ada@fussball.example"), ("ada@κόσμος.example", "ada@κόσμοσ.example")],
)
def test_two_domains_that_idna_2003_takes_for_one_are_two(
    api: Api, make_user: Callable[..., Any], smtp: SMTPServer, one: str, other: str
) -> None:
    names = [{"username": name} if has_username() else {} for name in ("one", "other")]
    make_user(one, **names[0])
    make_user(other, "the password of the other", **names[1])

    api.post("password/reset", {"email": one})
    assert smtp.recipients == [canonical_email(one)]
    assert api.login(one).status_code == api.login(other, "the password of the other").status_code == 200
    assert api.login(other).status_code == 401


@pytest.mark.parametrize("domain", ["große-gäste.example", "xn--groe-gste-i1a2d.example"])
def test_an_email_to_a_user_who_was_made_elsewhere_goes_to_the_domain_of_the_stored_address(
    api: Api, make_user: Callable[..., Any], smtp: SMTPServer, domain: str
) -> None:
    stored = f"ada@{domain}"
    user = make_user("ada@example.com")
    EmailAddress.objects.all().delete()
    get_user_model().objects.update(email=stored)
    user.refresh_from_db()
    expected = "ada@xn--groe-gste-i1a2d.example"

    api.post("verify-email/resend", {"email": "ada@GROßE-GÄSTE.example"})
    api.post("password/reset", {"email": expected})
    token = issue_tokens(user).access_token
    change = {"current_password": PASSWORD, "new_password": "a walk in the hills, and back"}
    assert api.post("password/change", change, token=token).status_code == 204
    body = {"new_email": "ada@faß.example", "password": "a walk in the hills, and back"}
    assert api.post("email/change", body, token=token).status_code == 202

    assert smtp.recipients == [expected, expected, expected, "ada@xn--fa-hia.example", expected]


@pytest.mark.one_user_model
@pytest.mark.parametrize(
    "address", ["ada@i❤.example", "ada@a·b.example", "ada@-ä.example", "ada@ä\u200b.example", "ada@a\u200db.example"]
)
def test_a_domain_that_idna_2008_does_not_allow_is_refused(api: Api, address: str) -> None:
    answer = api.register(address, username="ada")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "invalid_email")


@pytest.mark.one_user_model
@pytest.mark.parametrize("address", ["jürgen@example.com", "用户@example.com"])
def test_an_address_that_needs_smtputf8_is_refused_with_the_reason(
    api: Api, make_user: Callable[..., Any], smtp: SMTPServer, address: str
) -> None:
    for path in ("register", "password/reset", "verify-email/resend"):
        body = (
            {"email": address, "username": "ada", "password": PASSWORD} if path == "register" else {"email": address}
        )
        (error,) = api.post(path, body).json()["errors"]
        assert (error["code"], "name of the mailbox" in error["message"]) == ("invalid_email", True)

    user = make_user("ada@example.com")
    get_user_model().objects.update(email=address)
    user.refresh_from_db()
    token = issue_tokens(user).access_token
    change = {"current_password": PASSWORD, "new_password": "a walk in the hills, and back"}
    assert api.post("password/change", change, token=token).status_code == 204
    assert smtp.recipients == []


@pytest.mark.one_user_model
@pytest.mark.parametrize("name", NAMES)
def test_the_readable_spelling_leads_back(name: str) -> None:
    canonical = f"ada@{DOMAINS[name][0]}"

    assert canonical_email(readable_email(canonical)) == canonical


# authkit_addresses


def run(*arguments: str) -> tuple[str, str]:
    output = StringIO()
    try:
        call_command("authkit_addresses", *arguments, stdout=output)
    except CommandError as error:
        return output.getvalue(), str(error)
    return output.getvalue(), ""


def test_the_command_writes_the_canonical_spelling_again(api: Api, make_user: Callable[..., Any]) -> None:
    user, other = make_user("Ada@große-gäste.example"), make_user("bob@example.com")
    EmailAddress.objects.filter(user=user).update(canonical="ada@grosse-gäste.example")

    listed, error = run("--dry-run")
    assert (str(user.pk) in listed, error) == (True, "")
    assert EmailAddress.objects.get(user=user).canonical == "ada@grosse-gäste.example"
    found = json.loads(run("--json")[0])

    assert found["changed"] is True
    assert [(one["user"], one["canonical"]) for one in found["changes"]] == [
        (str(user.pk), "ada@xn--groe-gste-i1a2d.example")
    ]
    assert EmailAddress.objects.get(user=other).canonical == "bob@example.com"
    assert api.login("ada@große-gäste.example").status_code == 200
    assert "All email addresses have their canonical spelling." in run()[0]


@pytest.mark.parametrize("holds", ["row", "field", "another respelling"])
def test_the_command_changes_nothing_while_two_users_would_have_one_address(
    make_user: Callable[..., Any], holds: str
) -> None:
    fine, user = make_user("fine@faß.example"), make_user("ada@straße.example")
    EmailAddress.objects.filter(user=user).update(canonical="ada@strasse.example")
    other = make_user("Ada@xn--strae-oqa.example" if holds == "row" else "other@example.com")
    if holds == "field":
        EmailAddress.objects.filter(user=other).delete()
    if holds != "row":
        get_user_model().objects.filter(pk=other.pk).update(email="ADA@straße.example")
    if holds == "another respelling":
        EmailAddress.objects.filter(user=other).update(email="ADA@straße.example", canonical="ADA@straße.example")
    EmailAddress.objects.filter(user=fine).update(canonical="fine@fass.example")
    before = set(EmailAddress.objects.values_list("user_id", "canonical"))

    output, error = run()

    assert "collision" in error
    assert re.search(rf"Collision: user {user.pk} .*{other.pk}", output)
    assert set(EmailAddress.objects.values_list("user_id", "canonical")) == before
    get_user_model().objects.filter(pk=other.pk).delete()
    assert run()[1] == ""
    assert EmailAddress.objects.get(user=fine).canonical == "fine@xn--fa-hia.example"


def test_the_command_names_addresses_that_are_not_valid(make_user: Callable[..., Any]) -> None:
    user, fine = make_user(), make_user("fine@faß.example")
    EmailAddress.objects.filter(user=user).update(email="ada@i❤.example")
    EmailAddress.objects.filter(user=fine).update(canonical="fine@fass.example")

    output, error = run()

    assert "1 user with an invalid address" in error
    assert f"Invalid: user {user.pk}" in output
    assert EmailAddress.objects.get(user=fine).canonical == "fine@xn--fa-hia.example"
