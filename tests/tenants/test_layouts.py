"""The kit and the user model must be in the same lists of apps."""

from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from pytest_django import Settings

KIT, USERS = "ninja_auth_kit", "django.contrib.auth"
COMMON = ["django.contrib.contenttypes"]


def ours() -> dict[str, Any]:
    """Return the messages of the kit by their number."""
    return {
        str(message.id).removeprefix("ninja_auth_kit."): message
        for message in run_checks()
        if str(message.id).startswith("ninja_auth_kit.")
    }


@pytest.mark.parametrize(
    ("shared", "tenant", "said"),
    [
        ([KIT], [USERS], "in the schemas of SHARED_APPS, and those of auth.User in the schemas of TENANT_APPS."),
        ([USERS], [KIT], "in the schemas of TENANT_APPS, and those of auth.User in the schemas of SHARED_APPS."),
        ([KIT, USERS], [KIT], "in the schemas of SHARED_APPS and TENANT_APPS, and those of auth.User in the schemas"),
        ([KIT, USERS], [USERS], "in the schemas of SHARED_APPS, and those of auth.User in the schemas of SHARED_APPS"),
        ([KIT], [KIT, USERS], "in the schemas of SHARED_APPS and TENANT_APPS, and those"),
        ([], [], "in the schemas of no list of apps"),
    ],
)
def test_a_layout_that_separates_the_tables_from_the_users_is_an_error(
    settings: Settings, shared: list[str], tenant: list[str], said: str
) -> None:
    settings.SHARED_APPS, settings.TENANT_APPS = [*COMMON, *shared], [*COMMON, *tenant]
    error = ours()["E018"]
    assert said in error.msg
    assert "both into TENANT_APPS" in error.hint
    with pytest.raises(CommandError, match="E018"):
        call_command("check", stdout=StringIO())


@pytest.mark.parametrize(
    ("shared", "tenant"),
    [
        ([KIT, USERS], []),
        ([], [KIT, USERS]),
        ([KIT, USERS], [KIT, USERS]),
        ([], ["ninja_auth_kit.apps.AuthKitConfig", "django.contrib.auth.apps.AuthConfig"]),
    ],
)
def test_a_layout_that_keeps_them_together_is_none(settings: Settings, shared: list[str], tenant: list[str]) -> None:
    settings.SHARED_APPS, settings.TENANT_APPS = [*COMMON, *shared], [*COMMON, *tenant]
    assert not ours().keys() & {"E016", "E018"}


def test_each_kind_of_tenant_needs_both_or_neither(settings: Settings) -> None:
    settings.HAS_MULTI_TYPE_TENANTS, settings.MULTI_TYPE_DATABASE_FIELD = True, "kind"
    settings.TENANT_TYPES = {
        "public": {"APPS": COMMON},
        "shop": {"APPS": [*COMMON, KIT, USERS]},
        "catalogue": {"APPS": COMMON},
    }
    assert "E018" not in ours()
    settings.TENANT_TYPES["catalogue"]["APPS"] = [*COMMON, USERS]
    assert "in the schemas of shop, and those of auth.User in the schemas of shop and catalogue." in ours()["E018"].msg


def test_links_of_all_tenants_to_one_host_are_a_warning(settings: Settings) -> None:
    settings.NINJA_AUTH_KIT = {key: value for key, value in settings.NINJA_AUTH_KIT.items() if "TENANT" not in key}
    assert "TENANT_SETTINGS" in ours()["W030"].hint
    pages = ("change_email", "reset_password", "verify_email")
    settings.NINJA_AUTH_KIT["FRONTEND_URLS"] = {page: f"https://example.com/{page}" for page in pages}
    assert "W030" not in ours()


def test_a_function_that_fails_without_a_tenant_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.tenants.app.settings_of.tenant_settings", lambda connection: connection.tenant.title)
    found = ours()
    assert "failed for a connection without a tenant (AttributeError)" in found["E011"].msg
    settings.NINJA_AUTH_KIT = {**settings.NINJA_AUTH_KIT, "TENANT_SETTINGS": "tests.no_such_module.function"}
    assert "cannot be imported: ModuleNotFoundError" in ours()["E011"].msg
