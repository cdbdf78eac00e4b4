"""Users who were made without the kit, in the admin: a page that lists them, and an action that verifies them."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import path, reverse
from pytest_django import Settings

from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.users import is_verified
from tests.admin.conftest import Pages, told
from tests.conftest import Api, events
from tests.urls import urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "admin:ninja_auth_kit_emailaddress_users"


@pytest.fixture
def elsewhere(make_user: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes users as a project does without the kit."""

    def make(email: str, **fields: Any) -> Any:
        user = make_user(email, **fields)
        EmailAddress.objects.filter(user=user).delete()
        return get_user_model()._default_manager.get(pk=user.pk)

    return make


def act(client: Client, url: str, *users: Any) -> Any:
    data = {"action": "mark_email_verified", "index": "0", "_selected_action": [str(user.pk) for user in users]}
    return client.post(url, data, follow=True)


def test_the_page_lists_the_users_who_were_made_elsewhere_and_verifies_them(
    pages: Pages, api: Api, elsewhere: Callable[..., Any]
) -> None:
    user = elsewhere("grace@example.com")
    api.register("waits@example.com")
    assert api.login("grace@example.com").json()["code"] == "email_not_verified"

    listed = pages.client.get(reverse(PAGE)).content.decode()
    assert "grace@example.com" in listed
    assert "waits@example.com" not in listed
    response = act(pages.client, reverse(PAGE), user)

    assert told(response) == ["1 email address was marked as verified."]
    assert "grace@example.com" not in response.content.decode()
    assert api.login("grace@example.com").status_code == 200
    (event,) = [event for event in events() if event["type"] == "ninja-auth-kit.email.verified.v1"]
    assert event["data"]["actor"] == {"type": "admin", "id": str(pages.user.pk)}
    assert event["data"]["client"]["ip"] == "192.0.2.7"
    assert event["subject"] == f"user/{user.pk}"


def test_the_list_of_email_addresses_leads_to_the_page(pages: Pages) -> None:
    assert f'href="{reverse(PAGE)}"' in pages.list(EmailAddress).content.decode()


def test_the_page_finds_a_user_by_the_email_address_and_by_the_key(
    pages: Pages, elsewhere: Callable[..., Any]
) -> None:
    user, _other = elsewhere("grace@example.com"), elsewhere("alan@example.com")

    for term in ("Grace@Example.com", str(user.pk)):
        found = pages.client.get(reverse(PAGE), {"q": term}).content.decode()
        assert "grace@example.com" in found
        assert "alan@example.com" not in found


def test_who_cannot_be_verified_is_skipped_with_the_reason(pages: Pages, elsewhere: Callable[..., Any]) -> None:
    nothing, one, two = (elsewhere(f"{name}@example.com") for name in ("nothing", "one", "two"))
    manager = get_user_model()._default_manager
    manager.filter(pk=nothing.pk).update(email="")
    manager.filter(pk=two.pk).update(email="ONE@example.com")

    response = act(pages.client, reverse(PAGE), nothing, one, two)

    none, without, shared = sorted(told(response))
    assert none == "0 email addresses were marked as verified."
    assert without == f"1 skipped ({nothing.pk}): the account has no email address."
    assert shared.startswith("2 skipped (")
    assert all(address in shared for address in ("one@example.com", "ONE@example.com"))
    assert "another account has the same email address" in shared


@pytest.mark.security("SES-22")
def test_the_page_needs_the_right_to_view_addresses_and_its_action_the_right_to_change_them(
    viewer: Pages, make_user: Callable[..., Any], elsewhere: Callable[..., Any]
) -> None:
    user = elsewhere("grace@example.com")
    clerk = Pages(make_user("clerk@example.com", is_staff=True))
    clerk.user.user_permissions.set(Permission.objects.filter(content_type__model="user"))

    assert clerk.client.get(reverse(PAGE)).status_code == 403
    assert Client().get(reverse(PAGE)).status_code == 302
    page = viewer.client.get(reverse(PAGE)).content.decode()
    assert "grace@example.com" in page
    assert "mark_email_verified" not in page
    act(viewer.client, reverse(PAGE), user)

    assert not EmailAddress.objects.filter(user=user).exists()


@pytest.fixture
def project(settings: Settings) -> str:
    """Return the URL of the users in the admin of a project that uses the mixin."""
    from ninja_auth_kit.admin import VerifyUsersMixin  # the admin must be installed

    class UserAdmin(VerifyUsersMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        actions = ("greet",)

        @admin.action(description="Greet")
        def greet(self, request: Any, queryset: Any) -> None: ...

    site = admin.AdminSite()
    site.register(get_user_model(), UserAdmin)
    urlconf = ModuleType("urls_of_the_project")
    urlconf.urlpatterns = [*urlpatterns, path("admin/", site.urls)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urlconf
    options = get_user_model()._meta
    return f"/admin/{options.app_label}/{options.model_name}/"


def test_one_line_adds_the_action_to_the_admin_of_the_project(
    project: str, admin_user: Any, elsewhere: Callable[..., Any]
) -> None:
    pages, user = Pages(admin_user), elsewhere("grace@example.com")

    page = pages.client.get(project).content.decode()
    response = act(pages.client, project, user)

    assert "greet" in page
    assert "mark_email_verified" in page
    assert told(response) == ["1 email address was marked as verified."]
    assert is_verified(get_user_model()._default_manager.get(pk=user.pk))


@pytest.mark.security("SES-22")
def test_the_right_to_change_users_is_not_the_right_to_verify_them(
    project: str, make_user: Callable[..., Any], elsewhere: Callable[..., Any]
) -> None:
    clerk, user = make_user("clerk@example.com", is_staff=True), elsewhere("grace@example.com")
    clerk.user_permissions.set(Permission.objects.filter(content_type__model="user"))
    pages = Pages(get_user_model()._default_manager.get(pk=clerk.pk))

    page = pages.client.get(project)
    act(pages.client, project, user)

    assert page.status_code == 200
    assert "mark_email_verified" not in page.content.decode()
    assert not EmailAddress.objects.filter(user=user).exists()


def test_a_link_is_not_sent_to_a_user_without_the_password_that_it_asks_for(
    pages: Pages, make_user: Callable[..., Any]
) -> None:
    user = make_user("social@example.com", password=None, verified=False)

    (first, second) = told(pages.act(EmailAddress, "send_link", user.authkit_email))

    assert "1 skipped (social@example.com): the account has no password" in first
    assert second == "0 verification links are being sent."
