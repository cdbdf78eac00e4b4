"""The admin's pages: what they show, which users see them, and that they cannot be edited."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.http import HttpResponse

import ninja_auth_kit
from ninja_auth_kit.models import AuditDeferred, BlacklistedToken, EmailAddress, OneTimeToken, UserSession
from tests import settings as the_settings_of_the_tests
from tests.admin.conftest import MODELS, Pages
from tests.conftest import EMAIL, Api
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
EVERY_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def digests() -> list[str]:
    """Return every digest and hash in the database, and the secret part of each."""
    columns = [(UserSession, "refresh_token"), (UserSession, "auth_hash"), (BlacklistedToken, "token")]
    columns += [(OneTimeToken, "digest"), (OneTimeToken, "auth_hash"), (get_user_model(), "password")]
    whole = {value for model, name in columns for value in model._base_manager.values_list(name, flat=True)}
    return [piece for value in whole for piece in (value, value.rpartition("$")[2])]


def test_the_admin_has_these_models_of_the_kit_and_django_finds_no_fault() -> None:
    ours = {model for model in admin.site._registry if model._meta.app_label == "ninja_auth_kit"}

    assert ours == set(MODELS)
    call_command("check", verbosity=0)


def test_a_host_without_the_admin_never_imports_it() -> None:
    source = Path(ninja_auth_kit.__file__).parent
    files = [path.relative_to(source.parent).with_suffix("") for path in source.rglob("*.py")]
    # The optional apps can only be imported if they are installed: see tests/features/test_factor_admin.py.
    files = [path for path in files if path.parts[1] not in {"admin", "contrib"}]
    names = [".".join(path.parts).removesuffix(".__init__") for path in files]
    code = f"""
import django, importlib, sys
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
for name in {names}:
    importlib.import_module(name)
print([name for name in sys.modules if name.startswith("ninja_auth_kit.admin")])
"""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": ":".join([str(ROOT), *sys.path])}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert "ninja_auth_kit.management.commands.authkit_revoke" in names
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@EVERY_MODEL
@pytest.mark.parametrize("who", ["pages", "viewer"])
@pytest.mark.security("CFG-04")
def test_lists_details_and_histories_open_and_show_no_digest(
    model: Any, who: str, rows: dict[Any, Any], request: pytest.FixtureRequest, api: Api
) -> None:
    browser: Pages = request.getfixturevalue(who)
    api.post("password/reset", {"email": EMAIL})
    key = rows[model].pk

    for response in (
        browser.list(model),
        browser.list(model, q=str(key)),
        browser.page(model, "change", key),
        browser.page(model, "history", key),
    ):
        assert response.status_code == 200
        page = response.content.decode()
        assert [secret for secret in digests() if secret in page] == []


def test_a_session_tells_who_where_and_since_when(pages: Pages, api: Api, user: Any) -> None:
    api.login(HTTP_USER_AGENT="<b>Lynx</b>", REMOTE_ADDR="203.0.113.7")

    page = pages.list(UserSession).content.decode()

    assert "203.0.113.7" in page
    assert "&lt;b&gt;Lynx&lt;/b&gt;" in page
    assert str(user) in page


def test_a_blacklisted_token_tells_when_and_nothing_else(pages: Pages, rows: dict[Any, Any]) -> None:
    response = pages.page(BlacklistedToken, "change", rows[BlacklistedToken].pk)

    assert [field for fieldset in response.context["adminform"] for field in fieldset.fields] == ["blacklisted_at"]


@EVERY_MODEL
@pytest.mark.security("CFG-04")
@pytest.mark.parametrize(
    "lookup",
    [
        "refresh_token__startswith",
        "auth_hash__gte",
        "token__startswith",
        "user__password__startswith",
        "user__sessions__refresh_token__startswith",
        "user_agent__icontains",
    ],
)
def test_a_filter_that_is_not_on_the_page_tells_nothing(
    model: Any, lookup: str, pages: Pages, rows: dict[Any, Any]
) -> None:
    assert pages.list(model, **{lookup: "v1"}).status_code == 400


def test_no_other_column_can_be_named_as_the_key(pages: Pages, rows: dict[Any, Any]) -> None:
    assert pages.list(UserSession, _to_field="refresh_token").status_code == 400


@EVERY_MODEL
def test_the_order_is_that_of_the_index_whatever_the_query_string_says(
    model: Any, pages: Pages, rows: dict[Any, Any]
) -> None:
    usual = [row.pk for row in pages.list(model).context["cl"].result_list]

    for order in ("1", "-1", "2.-3", "99", "x"):
        assert [row.pk for row in pages.list(model, o=order).context["cl"].result_list] == usual


@EVERY_MODEL
@pytest.mark.parametrize("who", ["pages", "viewer"])
def test_nobody_can_add_change_or_delete(
    model: Any, who: str, rows: dict[Any, Any], request: pytest.FixtureRequest
) -> None:
    browser: Pages = request.getfixturevalue(who)
    key, before = rows[model].pk, model._base_manager.filter(pk=rows[model].pk).values().get()

    for name, at in (("add", None), ("delete", key)):
        assert browser.page(model, name, at).status_code == 403
        assert browser.page(model, name, at, post={"post": "yes"}).status_code == 403
    assert browser.page(model, "change", key, post={"_save": "Save", "is_active": ""}).status_code == 403
    browser.act(model, "delete_selected", rows[model], post="yes")

    assert model._base_manager.filter(pk=key).values().get() == before
    page = browser.page(model, "change", key).content.decode()
    assert "_save" not in page
    assert "deletelink" not in page


def test_who_has_no_permission_sees_nothing(make_user: Callable[..., Any], rows: dict[Any, Any]) -> None:
    browser = Pages(make_user("staff@example.com", is_staff=True))

    for model in MODELS:
        assert browser.list(model).status_code == 403
        assert browser.page(model, "change", rows[model].pk).status_code == 403
        assert browser.page(model, "history", rows[model].pk).status_code == 403


def test_who_may_only_view_is_offered_no_action_and_can_run_none(viewer: Pages, rows: dict[Any, Any]) -> None:
    EmailAddress.objects.update(verified_at=None)
    for model, action in (
        (UserSession, "end_selected"),
        (EmailAddress, "mark_verified"),
        (EmailAddress, "send_link"),
        (AuditDeferred, "requeue_selected"),
    ):
        assert action not in viewer.list(model).content.decode()
        viewer.act(model, action, rows[model])
        assert model._base_manager.filter(pk=rows[model].pk).exists()

    assert UserSession.objects.get(pk=rows[UserSession].pk).is_active
    assert EmailAddress.objects.filter(verified_at=None).count() == EmailAddress.objects.count()


def test_an_action_of_the_whole_site_does_not_reach_the_digests(pages: Pages, rows: dict[Any, Any]) -> None:
    def export(modeladmin: Any, request: Any, queryset: Any) -> HttpResponse:
        return HttpResponse(repr(list(queryset.values())))

    admin.site.add_action(export)
    try:
        seen = [pages.act(model, "export", row).content.decode() for model, row in rows.items()]
    finally:
        admin.site.disable_action("export")

    assert [page for page in seen if "v1$" in page or 'value="export"' in page] == []


def test_sessions_are_found_by_their_id_the_address_or_the_key_of_their_user(
    pages: Pages, api: Api, make_user: Callable[..., Any]
) -> None:
    user, _ = make_user(), make_user("grace@example.com")
    mine, _ = api.pair(), api.pair("grace@example.com")

    for term in (mine["session_id"], EMAIL, EMAIL.upper(), f" {EMAIL} ", str(user.pk)):
        found = pages.list(UserSession, q=term).context["cl"].result_list
        assert [str(session.pk) for session in found] == [mine["session_id"]], term
    for term in (str(uuid.uuid4()), "ada", "ada@", "nobody@example.com", "9" * 5000, "9" * 30, "-1", "' OR 1=1"):
        assert list(pages.list(UserSession, q=term).context["cl"].result_list) == [], term


def test_addresses_are_found_by_the_address_or_the_key_of_their_user(
    pages: Pages, make_user: Callable[..., Any]
) -> None:
    user = make_user()

    for term in (EMAIL, EMAIL.upper(), str(user.pk)):
        (found,) = pages.list(EmailAddress, q=term).context["cl"].result_list
        assert found.user_id == user.pk
    assert list(pages.list(EmailAddress, q="example.com").context["cl"].result_list) == []


def test_the_filters_leave_what_lives_and_what_waits(
    pages: Pages, rows: dict[Any, Any], make_user: Callable[..., Any]
) -> None:
    make_user("bob@example.com", verified=False)

    (session,) = pages.list(UserSession, live="1").context["cl"].result_list
    (address,) = pages.list(EmailAddress, waits="1").context["cl"].result_list

    assert session.pk == rows[UserSession].pk
    assert address.email == "bob@example.com"
    assert len(pages.list(UserSession, live="nonsense").context["cl"].result_list) == 2


def test_these_tests_have_the_admin_and_the_others_have_not() -> None:
    assert "django.contrib.admin" in django_settings.INSTALLED_APPS
    assert "django.contrib.admin" not in the_settings_of_the_tests.INSTALLED_APPS
