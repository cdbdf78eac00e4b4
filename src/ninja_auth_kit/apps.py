"""The app configuration: check the keys at start, and connect the signals."""

import os
import sys
from typing import Any

from django.apps import AppConfig
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class AuthKitConfig(AppConfig):
    """django-ninja-auth-kit."""

    name = "ninja_auth_kit"
    label = "ninja_auth_kit"
    verbose_name = _("Authentication kit")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Check the keys, register the system checks, and connect the receivers of signals."""
        from ninja_auth_kit import checks  # noqa: F401  # importing registers them
        from ninja_auth_kit.audit import receivers
        from ninja_auth_kit.checks.database_routers import require_postgresql
        from ninja_auth_kit.kept_connections import note_connection
        from ninja_auth_kit.models.user_constraints import add_user_constraints

        _check_keys()
        pre_migrate.connect(require_postgresql, sender=self, dispatch_uid="ninja_auth_kit.postgresql")
        post_migrate.connect(add_user_constraints, sender=self, dispatch_uid="ninja_auth_kit.user_ties")
        connection_created.connect(note_connection, dispatch_uid="ninja_auth_kit.requests_with_connection")
        receivers.connect()
        _watch_first_request()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=_watch_first_request)


def _check_keys() -> None:
    """Check the keys here and not in a system check, because servers do not run system checks."""
    from ninja_auth_kit.tokens import check_keys

    try:
        check_keys()
    except ImproperlyConfigured as error:
        # The autoreloader of runserver would catch the exception and keep running without serving.
        if sys.argv[1:2] == ["runserver"]:
            sys.exit(f"\n{error}\n")
        raise


_FIRST_REQUEST = "ninja_auth_kit.first_request"


def _watch_first_request() -> None:
    """Let each web process look for promised emails from its first request on.

    Not from the start: a thread does not survive a fork, and a server may fork its workers after a first request.
    """
    request_started.connect(_send_promised_emails, dispatch_uid=_FIRST_REQUEST)


def _send_promised_emails(**_: Any) -> None:
    is_test_run = hasattr(mail, "outbox")
    # Of two simultaneous first requests, one disconnects this receiver.
    if not is_test_run and request_started.disconnect(dispatch_uid=_FIRST_REQUEST):
        from ninja_auth_kit.services import promised_emails

        promised_emails.start()
