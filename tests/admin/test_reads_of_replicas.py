"""The admin of a project whose database router sends reads to a replica: the pages and actions read the primary."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from pytest_django import Settings

from ninja_auth_kit.models import AuditDeferred, AuditOutbox, EmailAddress, UserSession
from tests.admin.conftest import MODELS, Pages
from tests.conftest import EMAIL, Api
from tests.replica_router import replica_that_is_away

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def reads_are_sent_to_a_replica(settings: Settings, transactional_db: None) -> Iterator[None]:
    with replica_that_is_away():
        settings.DATABASE_ROUTERS = ["tests.replica_router.Router"]
        yield


@pytest.mark.security("SES-22")
def test_no_page_of_the_admin_reads_from_a_replica(pages: Pages, rows: dict[Any, Any]) -> None:
    for model in MODELS:
        key = rows[model].pk
        assert pages.list(model).status_code == 200, model
        assert pages.list(model, q=EMAIL).status_code == 200, model
        assert pages.page(model, "change", key).status_code == 200, model
        assert pages.page(model, "history", key).status_code == 200, model


@pytest.mark.security("SES-22")
def test_no_action_of_the_admin_reads_from_a_replica(
    pages: Pages, rows: dict[Any, Any], api: Api, make_user: Any
) -> None:
    make_user("grace@example.com", verified=False)
    make_user("alan@example.com", verified=False)
    grace, alan = (EmailAddress.objects.get(email=f"{name}@example.com") for name in ("grace", "alan"))
    actions = {
        (UserSession, "end_selected"): rows[UserSession],
        (AuditDeferred, "requeue_selected"): rows[AuditDeferred],
        (EmailAddress, "send_link"): grace,
        (EmailAddress, "mark_verified"): alan,
    }
    registered = {(model, str(action)) for model in MODELS for action in admin.site._registry[model].actions or ()}

    assert registered == set(actions)
    for (model, action), row in actions.items():
        assert pages.act(model, action, row).status_code == 200, action
    assert not UserSession.objects.filter(is_active=True).exists()
    assert not AuditDeferred.objects.exists()
    assert AuditOutbox.objects.exists()
    alan.refresh_from_db()
    assert alan.verified_at is not None


@pytest.mark.security("SES-22")
def test_the_action_for_users_who_were_made_elsewhere_reads_no_replica(
    pages: Pages, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.test import RequestFactory

    from ninja_auth_kit.admin.users import VerifyUsersMixin

    class Page(VerifyUsersMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
        def message_user(self, *_: Any, **__: Any) -> None:
            """Show no message: the request has no session."""

    user = make_user("grace@example.com", verified=False)
    EmailAddress.objects.all().delete()
    request = RequestFactory().post("/admin/")
    request.user = pages.user

    chosen = get_user_model()._default_manager.using("default").filter(pk=user.pk)
    Page(get_user_model(), admin.site).mark_email_verified(request, chosen)

    assert EmailAddress.objects.get(user_id=user.pk).verified_at is not None
