"""`PASSKEYS`: its defaults, its rules, and the system checks."""

import subprocess
import sys
from importlib import util
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from ninja_auth_kit.conf import settings as kit_settings
from ninja_auth_kit.contrib.passkeys import checks
from ninja_auth_kit.contrib.passkeys.settings import origin_of, relying_party
from ninja_auth_kit.testing import override_auth_kit

APP = "android:apk-key-hash:" + "Ab-_" * 10 + "Abc"


def found() -> list[tuple[str, str]]:
    """Return the ids and the texts of what the checks report."""
    return [(str(message.id)[-4:], str(message.msg)) for message in checks.check_relying_party()]


@pytest.mark.parametrize(
    ("base_url", "domain", "origin"),
    [
        ("https://example.com", "example.com", "https://example.com"),
        ("https://shop.example.com/app", "shop.example.com", "https://shop.example.com"),
        ("https://EXAMPLE.com:443", "example.com", "https://example.com"),
        ("https://example.com:8443", "example.com", "https://example.com:8443"),
        ("https://bücher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://localhost:8000", "localhost", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "localhost", "http://localhost:8000"),
        ("http://[::1]:8000", "localhost", "http://localhost:8000"),
        ("http://localhost:80", "localhost", "http://localhost"),
    ],
)
def test_the_relying_party_is_that_of_the_base_url(base_url: str, domain: str, origin: str) -> None:
    with override_auth_kit(BASE_URL=base_url, SITE_NAME="Example Shop"):
        assert relying_party() == (domain, "Example Shop", (origin,))
        assert found() == []


def test_each_part_of_the_relying_party_can_be_set() -> None:
    own = {"RP_ID": "example.com", "RP_NAME": "Shop", "ORIGINS": ["https://www.example.com", APP]}

    with override_auth_kit(BASE_URL="https://api.example.com", PASSKEYS=own):
        assert relying_party() == ("example.com", "Shop", ("https://www.example.com", APP))
        assert found() == []
        assert (kit_settings.PASSKEYS["LIMIT"], kit_settings.PASSKEYS["GUARDS_PASSWORD"]) == (20, True)


def test_without_a_name_the_host_of_the_site_is_shown() -> None:
    with override_auth_kit(BASE_URL="https://example.com", PASSKEYS={}):
        assert relying_party().name == "example.com"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("RP_ID", "https://example.com"),
        ("RP_ID", "example.com:443"),
        ("RP_ID", "Example.com"),
        ("RP_ID", "bücher.example"),
        ("RP_ID", ""),
        ("RP_ID", 5),
        ("RP_NAME", ""),
        ("RP_NAME", "two\nlines"),
        ("ORIGINS", "https://example.com"),
        ("ORIGINS", []),
        ("ORIGINS", [None]),
        ("ORIGINS", ["https://example.com/"]),
        ("ORIGINS", ["https://example.com/login"]),
        ("ORIGINS", ["https://Example.com"]),
        ("ORIGINS", ["https://example.com:443"]),
        ("ORIGINS", ["https://user@example.com"]),
        ("ORIGINS", ["https://*.example.com"]),
        ("ORIGINS", ["https://example.com:x"]),
        ("ORIGINS", ["https://"]),
        ("ORIGINS", ["example.com"]),
        ("ORIGINS", ["ftp://example.com"]),
        ("ORIGINS", ["null"]),
        ("ORIGINS", [APP + "="]),
        ("ORIGINS", [APP[:-1]]),
        ("LIMIT", 0),
        ("LIMIT", 101),
        ("GUARDS_PASSWORD", "no"),
        ("RPID", "example.com"),
    ],
)
def test_a_value_that_could_not_work_is_not_allowed(key: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=key):
        override_auth_kit(PASSKEYS={key: value})


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"RP_ID": "192.0.2.1"}, "is an IP address"),
        ({"RP_ID": "com"}, "a top-level domain"),
        ({"RP_ID": "other.example"}, "is not on the domain"),
        ({"RP_ID": "ample.com"}, "is not on the domain"),
        ({"RP_ID": "www.example.com"}, "is not on the domain"),
        ({"ORIGINS": ["https://example.com", "https://example.com.attacker.example"]}, "is not on the domain"),
    ],
)
def test_a_domain_that_browsers_refuse_is_reported(own: dict[str, Any], reason: str) -> None:
    with override_auth_kit(BASE_URL="https://example.com", PASSKEYS=own):
        ((number, text),) = found()

    assert (number, reason in text) == ("E021", True)


@pytest.mark.parametrize("base_url", ["http://192.0.2.1", "https://[2001:db8::1]", "http://my_app"])
def test_a_base_url_whose_host_is_not_a_domain_is_reported(base_url: str) -> None:
    with override_auth_kit(BASE_URL=base_url):
        assert found()[0][0] == "E021"


def test_an_origin_that_is_not_https_is_reported() -> None:
    unsafe = ["https://example.com", "http://shop.example.com"]

    with override_auth_kit(PASSKEYS={"RP_ID": "example.com", "ORIGINS": unsafe}):
        ((number, text),) = found()

    assert (number, "'http://shop.example.com' is not https" in text) == ("E022", True)


def test_pages_on_this_machine_need_no_https() -> None:
    local = {"RP_ID": "localhost", "ORIGINS": ["http://localhost:3000", "http://app.localhost"]}

    with override_auth_kit(PASSKEYS=local):
        assert found() == []


def test_nothing_else_is_reported_while_a_setting_is_invalid(settings: Any) -> None:
    settings.NINJA_AUTH_KIT = {"PASSKEYS": {"RP_ID": 5}}

    assert found() == []


def test_a_missing_extra_is_reported_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_requirements() == []

    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "webauthn" else util.find_spec(name))

    (message,) = checks.check_requirements()
    assert (message.id, "[passkeys]" in str(message.hint)) == ("ninja_auth_kit.E020", True)


def test_missing_second_factors_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.apps, "is_installed", lambda name: False)

    (message,) = checks.check_requirements()
    assert (message.id, "contrib.factors" in str(message.hint)) == ("ninja_auth_kit.E019", True)


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], "http://localhost:8000"),
        (["runserver", "8137"], "http://localhost:8137"),
        (["runserver", "0.0.0.0:8137"], "http://localhost:8137"),
        (["runserver", "--ipv6"], "http://localhost:8000"),
        (["runserver", "192.0.2.7:9001"], "http://192.0.2.7:9001"),
    ],
)
def test_during_development_links_and_passkeys_are_on_localhost(
    settings: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], url: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])
    settings.NINJA_AUTH_KIT = {}

    assert url == kit_settings.BASE_URL
    assert relying_party().origins == (url,)


def test_a_process_that_serves_no_passkeys_does_not_import_the_library() -> None:
    modules = ("apps", "checks", "events", "models", "seals", "settings", "structures")
    names = ", ".join(f"ninja_auth_kit.contrib.passkeys.{name}" for name in modules)
    code = f"import django, sys; django.setup(); import {names}; print('webauthn' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "False\n"


def test_what_is_not_a_page_has_no_origin() -> None:
    for url in ("", "example.com", "mailto:ann@example.com", "https://"):
        with pytest.raises(ValueError, match="must begin with"):
            origin_of(url)
