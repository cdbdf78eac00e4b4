"""`override_auth_kit`, which overrides settings of the kit in tests."""

from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from ninja_auth_kit.checks.settings import faults


class override_auth_kit(override_settings):  # noqa: N801  # as Django's own
    """Set some keys of `NINJA_AUTH_KIT`, and leave the others unchanged. A decorator and a context manager.

        @override_auth_kit(SESSION_LIMIT=None)
        def test_two_devices(client): ...

    The API is built once, so REGISTRATION_SCHEMA, PROFILE_SCHEMA and USER_SCHEMA cannot be overridden.

    Raises:
        ImproperlyConfigured: a key is unknown, or a value is invalid.
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__()
        self._keys = keys
        if found := faults(keys):
            raise ImproperlyConfigured(f"{found[0].msg} {found[0].hint}")

    def enable(self) -> None:
        """Apply the keys."""
        self.options = self._merged(getattr(django_settings, "NINJA_AUTH_KIT", {}))
        super().enable()

    def save_options(self, test_func: Any) -> None:
        """Add the keys to those of a test class and its base classes."""
        inherited = test_func._overridden_settings or {}
        self.options = self._merged(inherited.get("NINJA_AUTH_KIT", getattr(django_settings, "NINJA_AUTH_KIT", {})))
        super().save_options(test_func)

    def _merged(self, present: dict[str, Any]) -> dict[str, Any]:
        return {"NINJA_AUTH_KIT": {**present, **self._keys}}
