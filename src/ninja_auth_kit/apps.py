"""The app: refuses to start on a weak key, and connects what does not know one another."""

import sys

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AuthKitConfig(AppConfig):
    """django-ninja-auth-kit."""

    name = "ninja_auth_kit"
    label = "ninja_auth_kit"
    verbose_name = _("Authentication kit")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Check the key, register the checks, tie the tables to the users, and let the audit hear the signals."""
        from ninja_auth_kit import checks  # noqa: F401  # importing registers them
        from ninja_auth_kit.audit import receivers
        from ninja_auth_kit.models.user_constraints import add_user_constraints

        _check_keys()
        post_migrate.connect(add_user_constraints, sender=self, dispatch_uid="ninja_auth_kit.user_ties")
        receivers.connect()


def _check_keys() -> None:
    """Stop the process here and not in a system check: servers run none."""
    from ninja_auth_kit.tokens import check_keys

    try:
        check_keys()
    except ImproperlyConfigured as error:
        if sys.argv[1:2] == ["runserver"]:  # its autoreloader would swallow the exception and sit there, not serving
            sys.exit(f"\n{error}\n")
        raise
