"""A project with Django's admin, for these tests only. All other tests run without the admin."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse

from ninja_auth_kit.models import AuditDeferred, AuditOutbox, BlacklistedToken, EmailAddress, UserSession
from tests.conftest import Api

MODELS = (UserSession, BlacklistedToken, EmailAddress, AuditOutbox, AuditDeferred)
PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]


@pytest.fixture(scope="module", autouse=True)
def host_with_admin(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Install the admin and create its table, and remove both afterwards."""
    changes = {
        "INSTALLED_APPS": ["django.contrib.admin", "django.contrib.messages", *django_settings.INSTALLED_APPS],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "TEMPLATES": [{**django_settings.TEMPLATES[0], "OPTIONS": {"context_processors": PROCESSORS}}],
        "ROOT_URLCONF": "tests.admin.urls",
        "STATIC_URL": "/static/",
        "RABBITMQ_HOST": "127.0.0.1",  # so that audit events are written to the outbox
    }
    with django_db_blocker.unblock(), override_settings(**changes):
        call_command("migrate", "admin", verbosity=0)
        yield
        call_command("migrate", "admin", "zero", verbosity=0)


class Pages:
    """A client that is logged in to the admin."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.client = Client(REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="the admin's browser")
        self.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    def list(self, model: Any, **query: str) -> Any:
        return self.client.get(reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist"), query)

    def page(self, model: Any, name: str, key: Any = None, *, post: dict[str, Any] | None = None) -> Any:
        """Get the add, change, delete or history page of a row, or post to it."""
        arguments = [] if key is None else [key]
        url = reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{name}", args=arguments)
        return self.client.get(url) if post is None else self.client.post(url, post)

    def act(self, model: Any, action: str, *rows: Any, **more: str) -> Any:
        """Run an action on rows and return the list page that follows."""
        url = reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist")
        data = {"action": action, "index": "0", "_selected_action": [str(row.pk) for row in rows], **more}
        return self.client.post(url, data, follow=True)


def told(response: Any) -> list[str]:
    """Return the messages on a page."""
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def admin_user(make_user: Callable[..., Any]) -> Any:
    return make_user("root@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def pages(admin_user: Any) -> Pages:
    return Pages(admin_user)


@pytest.fixture
def viewer(make_user: Callable[..., Any]) -> Pages:
    """Return the pages of a user who may view every model of the kit and change none of them."""
    user = make_user("viewer@example.com", is_staff=True)
    allowed = Permission.objects.filter(content_type__app_label="ninja_auth_kit", codename__startswith="view_")
    user.user_permissions.set(allowed)
    return Pages(get_user_model()._default_manager.get(pk=user.pk))


@pytest.fixture
def rows(api: Api, user: Any) -> dict[Any, Any]:
    """Return one row of each model, such as an active session and a blacklisted token."""
    api.login()
    api.login()
    event = AuditOutbox.objects.order_by("pk")[0]
    values = {name: getattr(event, name) for name in ("event_id", "shard", "routing_key", "payload", "created_at")}
    AuditDeferred.objects.create(id=event.pk, **values, state="parked", reason="unroutable")
    event.delete()
    return {
        UserSession: UserSession.objects.get(is_active=True),
        BlacklistedToken: BlacklistedToken.objects.get(),
        EmailAddress: EmailAddress.objects.get(user=user),
        AuditOutbox: AuditOutbox.objects.order_by("pk")[0],
        AuditDeferred: AuditDeferred.objects.get(),
    }
