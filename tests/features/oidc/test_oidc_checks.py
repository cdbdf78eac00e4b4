"""The settings of providers, and the checks that report what is wrong with them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks as django_checks

from ninja_auth_kit.contrib.oidc import checks
from ninja_auth_kit.contrib.oidc.providers import find_provider, providers
from ninja_auth_kit.contrib.oidc.settings import SETTINGS, is_redirect_uri, is_url
from tests.features.oidc.conftest import OWN, PRESETS, REDIRECT_URI

pytestmark = pytest.mark.django_db

TENANT = "11111111-1111-4111-8111-111111111111"


def found(kit: Callable[..., None], provider: dict[str, Any], key: str = "example") -> list[str]:
    """Return the ids of what the checks report, without the prefix."""
    kit(OIDC={"PROVIDERS": {key: provider}, "REDIRECT_URIS": [REDIRECT_URI]})
    reported = [*checks.check_providers(), *checks.check_redirect_uris(), *checks.check_required_fields()]
    return [str(one.id).removeprefix("ninja_auth_kit.") for one in reported]


def test_the_settings_of_the_tests_are_fine() -> None:
    for check in (checks.check_providers, checks.check_redirect_uris, checks.check_requirements):
        assert check() == []


@pytest.mark.parametrize(
    ("key", "members", "number"),
    [
        ("example", {}, 0),
        ("example", {"issuer": None}, 1),
        ("example", {"client_ids": None}, 1),
        ("example", {"issuer": "http://id.example.com"}, 1),
        ("example", {"issuer": "http://127.0.0.1:8080"}, 1),
        ("example", {"issuer": "https://id.example.com/{tenantid}"}, 1),
        ("example", {"ca_file": "/does/not/exist"}, 1),
        ("google", {"issuer": None, "client_secret": None}, 1),
        ("github", {"issuer": None}, 0),
        ("github", {"issuer": None, "api": "http://api.example.com"}, 1),
        ("apple", {"issuer": None}, 3),
        ("microsoft", {"issuer": None}, 1),
        ("microsoft", {"issuer": None, "tenant": "organizations"}, 1),
        ("microsoft", {"issuer": None, "tenants": [TENANT]}, 0),
        ("microsoft", {"issuer": None, "tenant": TENANT}, 0),
        ("microsoft", {"issuer": None, "tenant": "consumers"}, 0),
        ("corporate", {"issuer": None, "preset": "microsoft"}, 1),
    ],
)
def test_what_a_provider_lacks_is_reported(
    kit: Callable[..., None], key: str, members: dict[str, Any], number: int
) -> None:
    provider = {name: value for name, value in {**OWN, **members}.items() if value is not None}
    assert found(kit, provider, key) == ["E024"] * number


def test_a_project_with_native_apps_alone_needs_no_secret(kit: Callable[..., None]) -> None:
    kit(OIDC={"PROVIDERS": {"google": {"client_ids": ["c"]}, "apple": {"client_ids": ["c"]}}})
    assert checks.check_providers() == []


def test_http_on_this_machine_is_fine_while_debug_is_on(kit: Callable[..., None], settings: Any) -> None:
    settings.DEBUG = True
    for issuer, expected in (
        ("http://127.0.0.1:8080", []),
        ("http://[::1]:8080", []),
        ("http://localhost:8080", []),
        ("http://id.example.com", ["E024"]),
        ("http://127.0.0.1.example.com", ["E024"]),
    ):
        assert found(kit, {**OWN, "issuer": issuer}) == expected


def test_a_provider_of_ones_own_that_is_trusted_is_a_warning(kit: Callable[..., None]) -> None:
    assert found(kit, {**OWN, "email_trusted": True}) == ["W033"]


@pytest.mark.parametrize(
    ("key", "members", "expected"),
    [
        ("example", {}, ["W035"]),
        ("github", {"issuer": None}, ["W035"]),
        ("google", {"issuer": None}, []),
        ("microsoft", {"issuer": None, "tenant": TENANT}, []),
        ("work", {"issuer": None, "preset": "google"}, []),
    ],
)
def test_linking_by_address_without_an_effect_is_a_warning(
    kit: Callable[..., None], key: str, members: dict[str, Any], expected: list[str]
) -> None:
    provider = {name: value for name, value in {**OWN, **members}.items() if value is not None}
    assert found(kit, {**provider, "links_verified_email": True}, key) == expected
    assert found(kit, {**provider, "links_verified_email": False}, key) == []


def test_the_hints_say_how_to_complete_a_provider(kit: Callable[..., None]) -> None:
    kit(OIDC={"PROVIDERS": {"gogle": {"client_ids": ["c"]}, "microsoft": {"client_ids": ["c"]}}})
    assert [one.hint for one in checks.check_providers()] == [
        "Add 'issuer' to it. If it is one of apple, github, google, microsoft, correct the id or set 'preset'.",
        "Set 'tenant' to the id of your tenant, or list 'tenants'.",
    ]


def test_a_field_that_a_provider_cannot_fill_is_reported(
    kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "must_be_filled", lambda *_: True)
    monkeypatch.setattr(checks, "fields_of_registration", lambda: ["password"])
    google = {"client_ids": ["c"], "client_secret": "s"}
    assert found(kit, google, "google") == ["E028"]
    assert found(kit, OWN) == []  # it is not trusted, so it registers no user
    kit(OIDC={"PROVIDERS": {"google": google}, "REGISTERS": False})
    assert checks.check_required_fields() == []


@pytest.mark.parametrize("uri", ["http://example.com/done", "http://localhost:3000/done"])
def test_a_redirect_uri_without_tls_is_reported(kit: Callable[..., None], settings: Any, uri: str) -> None:
    kit(OIDC={"PROVIDERS": {"example": OWN}, "REDIRECT_URIS": [uri]})
    assert [one.id for one in checks.check_redirect_uris()] == ["ninja_auth_kit.E025"]
    settings.DEBUG = True
    assert bool(checks.check_redirect_uris()) is ("localhost" not in uri)


def test_what_the_app_needs_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    monkeypatch.setattr(checks.apps, "is_installed", lambda name: False)
    assert [one.id for one in checks.check_requirements()] == ["ninja_auth_kit.E019", "ninja_auth_kit.E020"]


@pytest.mark.parametrize(
    "provider",
    [
        "google",
        {"isuer": "https://id.example.com"},
        {"issuer": "id.example.com"},
        {"issuer": "https://*.example.com"},
        {"issuer": "https://id.example.com/?x=1"},
        {"issuer": "https://id.example.com/#x"},
        {"issuer": "https://" + "a" * 200},
        {"client_ids": "the-client"},
        {"client_ids": []},
        {"client_secret": ""},
        {"auth_method": "private_key_jwt"},
        {"email_trusted": 1},
        {"links_verified_email": "yes"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"name": "a\nb"},
        {"preset": "facebook"},
        {"ca_file": 7},
    ],
    ids=str,
)
def test_a_provider_of_another_shape_is_an_invalid_value(kit: Callable[..., None], provider: Any) -> None:
    kit(OIDC={"PROVIDERS": {"example": provider}})
    reported = [one for one in django_checks.run_checks() if one.id == "ninja_auth_kit.E003"]
    assert len(reported) == 1
    assert "the-client-secret" not in str(reported)


@pytest.mark.parametrize(
    ("providers", "message", "hint"),
    [
        ({"google": {"client_id": "c"}}, "['google'] has no member 'client_id'.", "Did you mean 'client_ids'?"),
        (
            {"google": {"client_ids": "c"}},
            (
                "['google']['client_ids'] must be a list of strings that are not empty and have no spaces "
                "(got a value of the type str)."
            ),
            "Correct the value.",
        ),
        (
            {"a": {"preset": "gogle"}},
            "['a']['preset'] must be one of apple, github, google, microsoft.",
            "Did you mean 'google'?",
        ),
        (
            {"a": {"client_secret": ""}},
            "['a']['client_secret'] must be a string that is not empty.",
            "Correct the value.",
        ),
        (
            {"a": {"client_secret": 271828}},
            "['a']['client_secret'] must be a string that is not empty (got a value of the type int).",
            "Correct the value.",
        ),
        (
            {"Google": {"client_ids": ["c"]}},
            (
                " has the id 'Google', which must be at most 40 lower case letters, digits, hyphens and underscores, "
                "of which the first is a letter or a digit."
            ),
            "Use 'google'.",
        ),
    ],
    ids=str,
)
def test_the_error_names_the_provider_and_the_member(
    kit: Callable[..., None], providers: dict[str, Any], message: str, hint: str
) -> None:
    kit(OIDC={"PROVIDERS": providers})
    (reported,) = [one for one in django_checks.run_checks() if one.id == "ninja_auth_kit.E003"]
    assert (reported.msg, reported.hint) == (f"NINJA_AUTH_KIT['OIDC']['PROVIDERS']{message}", hint)


def test_every_fault_of_the_providers_is_reported(kit: Callable[..., None]) -> None:
    kit(OIDC={"PROVIDERS": {"a": {"client_id": "c", "client_secret": ""}, "b": "c"}})
    assert len([one for one in django_checks.run_checks() if one.id == "ninja_auth_kit.E003"]) == 3
    kit(OIDC={"PROVIDERS": ["google"]})
    (reported,) = [one for one in django_checks.run_checks() if one.id == "ninja_auth_kit.E003"]
    assert "must be a dict from ids, in lower case letters, digits, hyphens and underscores" in reported.msg


@pytest.mark.parametrize("key", ["Google", "a b", "", "ü", "a" * 41, 7, "a/b", "-a"])
def test_an_id_of_another_shape_is_an_invalid_value(key: Any) -> None:
    assert not SETTINGS["PROVIDERS"].rule.allows({key: OWN})


@pytest.mark.parametrize(
    ("uri", "is_one"),
    [
        ("https://example.com/done", True),
        ("https://example.com/done?a=b", True),
        ("com.example.app:/done", True),
        ("com.example.app://done", True),
        ("http://localhost:3000/done", True),
        ("/done", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://example.com/done#x", False),
        ("https://user@example.com/", False),
        ("https://*.example.com/", False),
        ("https:///done", False),
        ("https://example.com\\@evil.example.com/", False),
        ("https://example.com/a b", False),
        ("https://exämple.com/", False),
        ("https://[::1/", False),
        ("https://example.com:99999/", False),
        ("https://example.com/" + "a" * 500, False),
        (7, False),
    ],
)
def test_which_redirect_uris_can_be_configured(uri: Any, is_one: bool) -> None:
    assert is_redirect_uri(uri) is is_one


def test_which_addresses_are_urls_of_a_provider() -> None:
    assert is_url("https://id.example.com/realms/main")
    for wrong in ("id.example.com", "ftp://id.example.com", "https://u@id.example.com", "https://[", "", None):
        assert not is_url(wrong)


def test_an_incomplete_provider_is_not_used(kit: Callable[..., None]) -> None:
    kit(OIDC={"PROVIDERS": {"example": {"client_ids": ["c"]}, "google": {"client_ids": ["c"]}}})
    assert list(providers()) == ["google"]
    assert find_provider("google").name == "Google"


def test_the_members_of_a_preset_can_be_others(kit: Callable[..., None]) -> None:
    kit(
        OIDC={"PROVIDERS": {"work": {"preset": "google", "client_ids": ["c"], "name": "Work", "email_trusted": False}}}
    )
    one = find_provider("work")
    assert (one.name, one.issuer, one.email_trusted) == ("Work", "https://accounts.google.com", False)


@pytest.mark.security("OIDC-03")
@pytest.mark.parametrize(
    ("providers", "uri", "is_error"),
    [
        ({"example": OWN, "google": PRESETS["google"]}, REDIRECT_URI, True),
        ({"example": OWN, "other": OWN | {"issuer": "https://id.example.org"}}, REDIRECT_URI, True),
        ({"example": OWN, "google": PRESETS["google"]}, "https://example.com/login/{provider}", False),
        ({"example": OWN}, REDIRECT_URI, False),
        (PRESETS, REDIRECT_URI, False),
    ],
)
def test_providers_that_share_a_redirect_uri_are_named(
    kit: Callable[..., None], providers: dict[str, Any], uri: str, is_error: bool
) -> None:
    kit(OIDC={"PROVIDERS": providers, "REDIRECT_URIS": [uri]})

    assert [one.id for one in checks.check_shared_redirect_uris()] == ["ninja_auth_kit.E029"] * is_error
