"""The kit's settings for a test or two."""

from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from ninja_auth_kit.checks.settings import faults


class override_auth_kit(override_settings):  # noqa: N801  # as Django's own
    """Set some keys of `NINJA_AUTH_KIT` and leave the others as they are; a decorator and a context manager.

        @override_auth_kit(SESSION_LIMIT=None)
        def test_two_devices(client): ...

    What shapes the API when it is built (the schemas) does not change with it.

    Raises:
        ImproperlyConfigured: there is no such key, or the value does not fit; when it is made.
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__()
        self._keys = keys
        if found := faults(keys):
            raise ImproperlyConfigured(f"{found[0].msg} {found[0].hint}")

    def enable(self) -> None:
        """Begin."""
        self.options = self._merged(getattr(django_settings, "NINJA_AUTH_KIT", {}))
        super().enable()

    def save_options(self, test_func: Any) -> None:
        """Remember the keys on a class of tests."""
        outer = test_func._overridden_settings or {}
        self.options = self._merged(outer.get("NINJA_AUTH_KIT", getattr(django_settings, "NINJA_AUTH_KIT", {})))
        super().save_options(test_func)

    def _merged(self, present: dict[str, Any]) -> dict[str, Any]:
        return {"NINJA_AUTH_KIT": {**present, **self._keys}}
