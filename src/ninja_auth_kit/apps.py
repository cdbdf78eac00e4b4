"""The app configuration: check the keys at start, and connect the signals."""

import sys

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
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
        from ninja_auth_kit.models.user_constraints import add_user_constraints

        _check_keys()
        pre_migrate.connect(require_postgresql, sender=self, dispatch_uid="ninja_auth_kit.postgresql")
        post_migrate.connect(add_user_constraints, sender=self, dispatch_uid="ninja_auth_kit.user_ties")
        receivers.connect()


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
