"""The admin's page of identities: what it shows, and that an action unlinks them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from ninja_auth_kit.contrib.oidc.models import Identity
from tests.admin.conftest import Pages, admin_user, host_with_admin, pages, told
from tests.conftest import EMAIL, events
from tests.features.oidc.conftest import ISSUER, SUBJECT, link
from tests.features.test_factor_admin import viewer

__all__ = ["admin_user", "host_with_admin", "pages"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows(user: Any, make_user: Callable[..., Any]) -> list[Identity]:
    """Return two identities of the user, and one of another one."""
    other = make_user("grace@example.com")
    return [link(user), link(user, issuer="https://other.example.com"), link(other, subject="of-grace")]


@pytest.mark.security("CFG-04")
def test_the_pages_show_neither_subject_nor_seal(pages: Pages, user: Any, rows: list[Identity]) -> None:
    row = rows[0]
    for response in (
        pages.list(Identity),
        pages.list(Identity, q=EMAIL.upper()),
        pages.list(Identity, q=str(row.pk)),
        pages.page(Identity, "change", row.pk),
    ):
        assert response.status_code == 200
        page = response.content.decode().replace("<wbr>", "")
        assert "example" in page
        assert [one for one in (SUBJECT, row.seal, row.seal[-64:], user.password) if one in page] == []
    assert ISSUER in pages.page(Identity, "change", row.pk).content.decode().replace("<wbr>", "")
    assert len(pages.list(Identity).context["cl"].result_list) == 3
    assert len(pages.list(Identity, q=EMAIL).context["cl"].result_list) == 2
    assert pages.list(Identity, seal__startswith="v1").status_code == 400
    assert pages.list(Identity, subject__startswith="the").status_code == 400


def test_an_identity_cannot_be_added_changed_or_deleted(pages: Pages, rows: list[Identity]) -> None:
    before = list(Identity.objects.order_by("pk").values())
    assert pages.page(Identity, "add").status_code == 403
    assert pages.page(Identity, "change", rows[0].pk, post={"subject": "x"}).status_code == 403
    assert pages.page(Identity, "delete", rows[0].pk, post={"post": "yes"}).status_code == 403
    assert list(Identity.objects.order_by("pk").values()) == before


@pytest.mark.security("AUD-01")
def test_the_action_unlinks_the_selected_identities_and_says_who_did_it(
    pages: Pages, user: Any, rows: list[Identity]
) -> None:
    assert told(pages.act(Identity, "unlink", *rows[:2])) == ["2 identities were unlinked."]

    own = [event["data"] for event in events() if "identity.unlinked" in event["type"]]
    assert [one["actor"] for one in own] == [{"type": "admin", "id": str(pages.user.pk)}] * 2
    assert [one["target"]["id"] for one in own] == [str(user.pk)] * 2
    assert [one.pk for one in Identity.objects.all()] == [rows[2].pk]
    assert {tuple(one.to) for one in mail.outbox} == {(EMAIL,)}
    from django.contrib.admin.models import LogEntry  # the admin is installed by the fixture

    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(user.pk), "Unlinked identities.")


def test_without_the_permission_to_change_there_is_no_action(
    make_user: Callable[..., Any], rows: list[Identity]
) -> None:
    browser = viewer(make_user)
    browser.act(Identity, "unlink", *rows)
    assert Identity.objects.count() == 3
