"""Identities of allauth.socialaccount and of python-social-auth: who they log in, and what cannot be imported."""

import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ninja_auth_kit.contrib.oidc import importing
from ninja_auth_kit.contrib.oidc.former_identities import SOURCES
from ninja_auth_kit.contrib.oidc.models import Identity
from tests.conftest import events
from tests.servers import ROOT

if apps.is_installed("social_django"):  # the test of the security page imports this module without them
    from allauth.socialaccount.models import SocialAccount, SocialApp
    from social_core.backends.google import GoogleOAuth2
    from social_django.models import UserSocialAuth
    from social_django.utils import load_strategy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

GOOGLE, GITHUB, APPLE = "https://accounts.google.com", "https://github.com/login/oauth", "https://appleid.apple.com"
COMPANY, AUTH0 = "https://id.example.com/realms/staff", "https://example.eu.auth0.com/"
ENTRA = "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0"


def run(*arguments: str) -> str:
    """Run the command, and return what it prints."""
    output = StringIO()
    call_command("authkit_identities", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue()


def imported(source: str, *options: str) -> Any:
    """Run the import with --json, and return the object."""
    return json.loads(run("import", source, *options, "--json"))


def reasons(source: str, *options: str) -> dict[str, list[str]]:
    """Return what the other package calls the providers of the identities that were not imported, by reason."""
    skipped = imported(source, *options)["skipped"]
    return {reason: [one["provider"] for one in found["listed"]] for reason, found in skipped.items()}


def allauth(user: Any, provider: str, uid: str, **data: Any) -> Any:
    """Return a social account of allauth."""
    return SocialAccount.objects.create(user=user, provider=provider, uid=uid, extra_data=data)


def social(user: Any, provider: str, uid: str, **fields: Any) -> Any:
    """Return an association of python-social-auth."""
    return UserSocialAuth.objects.create(user=user, provider=provider, uid=uid, **fields)


def linked() -> set[tuple[Any, str, str, str]]:
    """Return the user, the provider, the issuer and the subject of each genuine identity."""
    rows = list(Identity.objects.all())
    assert all(row.is_genuine for row in rows)
    return {(row.user.pk, row.provider, row.issuer, row.subject) for row in rows}


@pytest.fixture
def other(user: Any) -> Any:
    """Return another user who has logged in before."""
    found = get_user_model().objects.get(pk=user.pk)
    found.pk, found.username, found.email = None, "grace", "grace@example.com"
    found.save()
    return found


# allauth


def test_the_subjects_of_allauth_are_imported(user: Any) -> None:
    allauth(user, "google", "10769150350006150715113082367", email="ada@gmail.com", sub="1076")
    allauth(user, "github", "583231", email="ada@example.com", login="ada")
    allauth(user, "apple", "001234.0123456789abcdef.1234", email="ada@privaterelay.appleid.com")
    allauth(user, "staff", "f81d4fae", userinfo={"sub": "f81d4fae", "email": "ada@example.com"})

    said = run("import", "allauth")

    assert said == "4 identities imported (1 apple, 1 github, 1 google, 1 staff).\n"
    assert linked() == {
        (user.pk, "google", GOOGLE, "10769150350006150715113082367"),
        (user.pk, "github", GITHUB, "583231"),
        (user.pk, "apple", APPLE, "001234.0123456789abcdef.1234"),
        (user.pk, "company", COMPANY, "f81d4fae"),
    }
    assert {row.email for row in Identity.objects.all()} == {
        "ada@gmail.com",
        "ada@example.com",
        "ada@privaterelay.appleid.com",
    }


def test_what_allauth_stores_in_place_of_the_subject_is_listed(user: Any, other: Any) -> None:
    allauth(user, "microsoft", "87d349ed-44d7-43e1-9a83-5f2406dee5bd", mail="ada@example.com")
    allauth(user, "by-address", "ada@example.com")
    allauth(other, "facebook", "1234567890")
    allauth(other, "google", "grace@gmail.com")

    assert reasons("allauth") == {
        "never_subject": ["microsoft"],
        "no_provider": ["facebook"],
        "not_subject": ["by-address", "google"],
    }
    assert linked() == set()


def test_naming_a_provider_does_not_make_a_subject_of_the_id_of_the_graph_api(user: Any) -> None:
    allauth(user, "microsoft", "87d349ed-44d7-43e1-9a83-5f2406dee5bd")

    assert reasons("allauth", "--provider", "microsoft=entra") == {"never_subject": ["microsoft"]}
    assert "id of the Graph API" in run("import", "allauth")
    assert linked() == set()


def test_an_app_that_allauth_has_no_more_must_be_added_again(user: Any, settings: Settings) -> None:
    allauth(user, "staff", "f81d4fae")
    apps_of_allauth = settings.SOCIALACCOUNT_PROVIDERS
    settings.SOCIALACCOUNT_PROVIDERS = {}

    assert reasons("allauth", "--provider", "staff=company") == {"no_app": ["staff"]}
    assert "have no app of this name any more: add it until the import" in run("import", "allauth")

    settings.SOCIALACCOUNT_PROVIDERS = apps_of_allauth
    assert imported("allauth")["imported"] == {"staff": 1}


def test_an_app_of_the_database_of_allauth_is_known_by_its_issuer(user: Any) -> None:
    app = {"provider": "openid_connect", "name": "x", "client_id": "x", "secret": "x"}
    url = f"{COMPANY}/.well-known/openid-configuration"
    SocialApp.objects.create(provider_id="keycloak", settings={"server_url": url}, **app)
    SocialApp.objects.create(provider_id="elsewhere", settings={"server_url": "https://elsewhere.example.com"}, **app)
    allauth(user, "keycloak", "f81d4fae")
    allauth(user, "elsewhere", "f81d4fae")

    assert reasons("allauth", "--dry-run") == {"no_provider": ["elsewhere"]}
    assert reasons("allauth", "--provider", "elsewhere=company") == {"other_issuer": ["elsewhere"]}
    assert linked() == {(user.pk, "company", COMPANY, "f81d4fae")}


def test_a_github_of_another_host_is_not_github(user: Any, settings: Settings) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = {"github": {"GITHUB_URL": "https://github.example.com"}}
    allauth(user, "github", "583231")

    assert reasons("allauth") == {"no_provider": ["github"]}
    assert reasons("allauth", "--provider", "github=github") == {"other_issuer": ["github"]}


# python-social-auth


def test_the_subjects_of_python_social_auth_are_imported(user: Any, other: Any) -> None:
    social(user, "google-oauth2", "10769150350006150715113082367", id_key="sub", extra_data={"email": "ada@gmail.com"})
    social(user, "github", "583231", id_key="id")
    social(user, "apple-id", "001234.0123456789abcdef.1234")
    social(user, "azuread-v2-tenant-oauth2", "pairwise-subject", id_key="sub")
    social(other, "auth0-openidconnect", "auth0|1", id_key="sub")
    social(other, "github-org", "583232")  # of a version without the column `id_key`

    assert run("import", "social-auth").startswith("6 identities imported (")
    assert linked() == {
        (user.pk, "google", GOOGLE, "10769150350006150715113082367"),
        (user.pk, "github", GITHUB, "583231"),
        (user.pk, "apple", APPLE, "001234.0123456789abcdef.1234"),
        (user.pk, "entra", ENTRA, "pairwise-subject"),
        (other.pk, "auth0", AUTH0, "auth0|1"),
        (other.pk, "github", GITHUB, "583232"),
    }


def test_google_users_of_versions_before_6_have_their_address_as_the_uid_and_are_listed(user: Any) -> None:
    """The uids are those that the backend itself computes."""
    google, answer = GoogleOAuth2(load_strategy()), {"sub": "1076", "email": "ada@gmail.com", "email_verified": True}
    ((_, former),) = google.get_legacy_user_identifiers({"email": "ada@gmail.com"}, answer)
    row = social(user, "google-oauth2", former)

    assert former == "ada@gmail.com"
    assert reasons("social-auth") == {"not_subject": ["google-oauth2"]}

    # With SOCIAL_AUTH_GOOGLE_OAUTH2_USE_UNIQUE_USER_ID. The migration to version 6 says "email" of each row.
    row.uid, row.id_key = google.get_user_id({"email": "ada@gmail.com"}, answer), "email"
    row.save()
    assert imported("social-auth")["imported"] == {"google-oauth2": 1}
    assert linked() == {(user.pk, "google", GOOGLE, "1076")}


@pytest.mark.parametrize(
    ("provider", "uid", "id_key"),
    [
        ("azuread-v2-tenant-oauth2", "ada@example.com", "preferred_username"),
        ("azuread-v2-tenant-oauth2", "ada@example.com", ""),  # a former version, which stored that
        ("auth0-openidconnect", "ada", "username"),
        ("github", "ada", "login"),
        ("google-oauth2", "ada@gmail.com", ""),
        ("apple-id", "ada@example.com", "email"),
    ],
)
def test_a_uid_that_is_something_else_is_listed(user: Any, provider: str, uid: str, id_key: str) -> None:
    social(user, provider, uid, id_key=id_key)

    assert reasons("social-auth") == {"not_subject": [provider]}


def test_a_provider_of_unknown_issuer_must_be_named(user: Any) -> None:
    social(user, "keycloak", "f81d4fae", id_key="sub")

    assert reasons("social-auth") == {"no_provider": ["keycloak"]}
    assert imported("social-auth", "--provider", "keycloak=company")["imported"] == {"keycloak": 1}
    assert linked() == {(user.pk, "company", COMPANY, "f81d4fae")}


def test_a_provider_without_its_tenant_is_not_imported(user: Any, settings: Settings) -> None:
    social(user, "azuread-v2-tenant-oauth2", "pairwise-subject", id_key="sub")

    settings.SOCIAL_AUTH_AZUREAD_V2_TENANT_OAUTH2_TENANT_ID = "22222222-2222-4222-8222-222222222222"
    assert reasons("social-auth") == {"no_provider": ["azuread-v2-tenant-oauth2"]}
    settings.SOCIAL_AUTH_AZUREAD_V2_TENANT_OAUTH2_TENANT_ID = None
    named = ("--provider", "azuread-v2-tenant-oauth2=entra")
    assert reasons("social-auth", *named) == {"other_issuer": ["azuread-v2-tenant-oauth2"]}


# Both


def test_a_dry_run_says_the_same_and_stores_nothing(user: Any, audited: None) -> None:
    recorded = events()
    allauth(user, "google", "1076")
    allauth(user, "microsoft", "1076")

    before = run("import", "allauth", "--dry-run")

    assert linked() == set()
    assert events() == recorded
    assert before.replace("would be imported", "imported") == run("import", "allauth")


def test_another_run_imports_nothing_twice_even_after_the_user_has_unlinked(user: Any) -> None:
    allauth(user, "google", "1076")
    allauth(user, "github", "583231")
    run("import", "allauth")

    Identity.objects.filter(provider="google").delete()
    social(user, "google-oauth2", "1076", id_key="sub")

    assert run("import", "allauth") == "0 identities imported.\n2 identities imported before.\n"
    assert run("import", "social-auth") == "0 identities imported.\n1 identity imported before.\n"
    assert linked() == {(user.pk, "github", GITHUB, "583231")}


def test_an_identity_of_two_users_is_imported_for_the_first_and_listed_for_the_other(user: Any, other: Any) -> None:
    allauth(other, "google", "1076")
    run("import", "allauth")
    social(user, "google-oauth2", "1076", id_key="sub")

    said = run("import", "social-auth")

    row = UserSocialAuth.objects.get()
    assert said == (
        f"skipped user {user.pk}, social_django.usersocialauth {row.pk} (google-oauth2): "
        "it is linked to another user\n"
        "0 identities imported.\n1 skipped, see above.\n"
    )
    assert linked() == {(other.pk, "google", GOOGLE, "1076")}


def test_a_second_identity_of_an_issuer_is_listed(user: Any) -> None:
    allauth(user, "google", "1076")
    allauth(user, "google", "1077")

    assert reasons("allauth", "--dry-run") == {"second": ["google"]}
    assert reasons("allauth") == {"second": ["google"]}
    assert linked() == {(user.pk, "google", GOOGLE, "1076")}


def test_users_who_may_not_log_in_are_listed(user: Any, other: Any) -> None:
    other.is_active = False
    other.save()
    waits = get_user_model().objects.create_user("waits", "waits@example.com", "a long walk in the hills")
    from ninja_auth_kit.models import EmailAddress

    EmailAddress.objects.create(user=waits, email="waits@example.com")
    for number, owner in enumerate((user, other, waits)):
        allauth(owner, "google", f"107{number}")

    assert reasons("allauth") == {"disabled": ["google"], "pending": ["google"]}
    assert imported("allauth", "--include-disabled")["imported"] == {"google": 1}


def test_each_import_is_recorded_as_the_systems_and_no_email_is_sent(user: Any, audited: None) -> None:
    mail.outbox.clear()
    before = len(events())
    allauth(user, "google", "1076", email="ada@gmail.com")
    run("import", "allauth")

    (recorded,) = events()[before:]
    assert recorded["type"] == "ninja-auth-kit.identity.linked.v1"
    assert (recorded["authtype"], recorded["subject"]) == ("system", f"user/{user.pk}")
    assert "1076" not in str(recorded)
    assert "gmail" not in str(recorded)
    assert mail.outbox == []


def test_many_users_are_read_in_batches(
    monkeypatch: pytest.MonkeyPatch, make_users: Callable[[int], list[Any]]
) -> None:
    monkeypatch.setattr("ninja_auth_kit.contrib.oidc.former_identities.BATCH", 2)
    for number, owner in enumerate(make_users(5)):
        allauth(owner, "google", f"107{number}")
        allauth(owner, "github", f"107{number}")

    assert imported("allauth")["imported"] == {"github": 5, "google": 5}


@pytest.fixture
def make_users(user: Any) -> Callable[[int], list[Any]]:
    """Return a function that makes users."""

    def make(count: int) -> list[Any]:
        users = get_user_model().objects
        return [users.create_user(f"user{number}", f"user{number}@example.com") for number in range(count)]

    return make


def test_what_cannot_be_run_says_why(settings: Settings) -> None:
    with pytest.raises(CommandError, match=r"has no usable provider with the id nowhere\. Known are: apple, auth0"):
        run("import", "allauth", "--provider", "google=nowhere")
    with pytest.raises(CommandError, match="must be NAME=ID"):
        run("import", "allauth", "--provider", "google")
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "social_django"]
    assert not SOURCES["social-auth"].is_installed
    with pytest.raises(CommandError, match="'social_django' is not in INSTALLED_APPS"):
        run("import", "social-auth")


def test_the_identities_of_a_user_are_listed(user: Any) -> None:
    allauth(user, "google", "1076", email="ada@gmail.com")
    run("import", "allauth")
    row = Identity.objects.get()

    assert run("list", "--key", str(user.pk)) == (
        f"User {user.pk}: 1 identity\n  google  'ada@gmail.com'  last used: never  {row.pk}\n"
    )
    (found,) = json.loads(run("list", "--key", str(user.pk), "--json"))["identities"]
    assert (found["provider"], found["email"], found["last_used_at"]) == ("google", "ada@gmail.com", None)


def test_an_import_is_remembered_for_a_year() -> None:
    assert importing.REMEMBERED.days == 366


def test_the_page_for_migrations_shows_what_the_command_prints(user: Any) -> None:
    allauth(user, "google", "1076")
    allauth(user, "github", "583231")
    allauth(user, "microsoft", "87d349ed")
    page = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"authkit_identities import allauth --dry-run\n(.*?)\$ python", page, re.DOTALL)

    printed = run("import", "allauth", "--dry-run")

    assert without_keys(printed) == without_keys(shown)


def without_keys(text: str) -> str:
    """Return the text without the primary keys."""
    return re.sub(r"(user|socialaccount) \d+", r"\1 …", text)


@pytest.mark.parametrize("users", [2, 20])
def test_the_number_of_statements_does_not_depend_on_the_number_of_identities(
    make_users: Callable[[int], list[Any]], django_assert_num_queries: Any, users: int
) -> None:
    app = {"provider": "openid_connect", "name": "x", "client_id": "x", "secret": "x"}
    SocialApp.objects.create(provider_id="keycloak", settings={"server_url": COMPANY}, **app)
    for number, owner in enumerate(make_users(users)):
        allauth(owner, "keycloak", f"subject-{number}")

    with django_assert_num_queries(8):
        run("import", "allauth", "--dry-run")
