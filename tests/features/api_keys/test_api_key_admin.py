"""The admin's page of API keys: what it shows, and that an action revokes them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.api_keys.testing import api_key
from tests.admin.conftest import Pages, admin_user, host_with_admin, pages, told
from tests.conftest import EMAIL, Api, events
from tests.features.api_keys.conftest import READ, WRITE
from tests.features.test_factor_admin import viewer

__all__ = ["admin_user", "host_with_admin", "pages"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def keys(user: Any, make_user: Callable[..., Any]) -> list[str]:
    """Return two keys of the user, and one of another one."""
    other = make_user("grace@example.com")
    own = [api_key(user, scopes=[scope], name=f"for {scope}") for scope in (READ, WRITE)]
    return [*own, api_key(other, scopes=[READ], lifetime=timedelta(days=2))]


@pytest.mark.security("CFG-04")
def test_the_pages_show_no_digest_and_only_the_start_of_a_key(pages: Pages, user: Any, keys: list[str]) -> None:
    row = ApiKey.objects.get(name=f"for {READ}")
    for response in (
        pages.list(ApiKey),
        pages.list(ApiKey, q=EMAIL.upper()),
        pages.list(ApiKey, q=str(row.pk)),
        pages.page(ApiKey, "change", row.pk),
    ):
        assert response.status_code == 200
        page = response.content.decode().replace("<wbr>", "")
        assert row.start in page
        assert READ in page
        assert [secret for secret in (*keys, row.digest, row.digest[-64:], user.password) if secret in page] == []
    assert len(pages.list(ApiKey).context["cl"].result_list) == 3
    assert len(pages.list(ApiKey, q=EMAIL).context["cl"].result_list) == 2
    assert len(pages.list(ApiKey, q="nobody@example.com").context["cl"].result_list) == 0
    assert pages.list(ApiKey, digest__startswith="v1").status_code == 400


def test_a_key_cannot_be_added_changed_or_deleted(pages: Pages, keys: list[str]) -> None:
    before = list(ApiKey.objects.order_by("pk").values())
    row = ApiKey.objects.all()[0]
    assert pages.page(ApiKey, "add").status_code == 403
    assert pages.page(ApiKey, "change", row.pk, post={"scopes": WRITE}).status_code == 403
    assert pages.page(ApiKey, "delete", row.pk, post={"post": "yes"}).status_code == 403
    assert list(ApiKey.objects.order_by("pk").values()) == before


@pytest.mark.security("AUD-01", "KEY-02")
def test_the_action_revokes_the_selected_keys_and_says_who_did_it(
    pages: Pages, api: Api, user: Any, keys: list[str]
) -> None:
    chosen = ApiKey.objects.filter(user=user)

    assert told(pages.act(ApiKey, "revoke", *chosen)) == ["2 API keys were revoked."]

    own = [event["data"] for event in events() if event["type"].startswith("ninja-auth-kit.api_key.revoked")]
    assert [one["actor"] for one in own] == [{"type": "admin", "id": str(pages.user.pk)}] * 2
    assert [one["target"]["id"] for one in own] == [str(user.pk)] * 2
    assert {one["reason"] for one in own} == {"revoked"}
    assert ApiKey.objects.count() == 1
    from django.contrib.admin.models import LogEntry  # the admin is installed by the fixture

    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(user.pk), "Revoked API keys.")


def test_without_the_permission_to_change_there_is_no_action(make_user: Callable[..., Any], keys: list[str]) -> None:
    browser = viewer(make_user)
    assert b"revoke" not in browser.list(ApiKey).content
    browser.act(ApiKey, "revoke", *ApiKey.objects.all())
    assert ApiKey.objects.count() == 3
