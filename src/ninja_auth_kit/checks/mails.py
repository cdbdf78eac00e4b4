"""The check of where mails go."""

import warnings
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.messages import warning

_NOWHERE = {f"django.core.mail.backends.{name}.EmailBackend" for name in ("console", "dummy", "filebased", "locmem")}


@register(Tags.security, deploy=True)
def check_mails(**_: Any) -> list[CheckMessage]:
    """W019: without mails nobody can verify an address or set a new password, and a log has the links in clear."""
    backend = _backend()
    if backend and backend not in _NOWHERE:
        return []
    hint = (
        "Set EMAIL_BACKEND = 'django.core.mail.backends.smtp.EmailBackend' and EMAIL_HOST, from Django 6.1 both in "
        "MAILERS = {'default': {'BACKEND': ..., 'OPTIONS': {'host': ...}}}; or name the backend of your mail service."
    )
    message = f"Mails go nowhere: their backend is {backend}." if backend else "Mails go nowhere: no default mailer."
    return [warning("W019", message, hint)]


def _backend() -> str:
    """Return the path of the backend that mails are sent with, or "" for none."""
    mailers = getattr(django_settings, "MAILERS", None)
    if mailers is not None:
        default = mailers.get("default") if isinstance(mailers, dict) else None
        smtp = "django.core.mail.backends.smtp.EmailBackend"
        return str(default.get("BACKEND", smtp)) if isinstance(default, dict) else ""
    with warnings.catch_warnings():  # Django 6.1 deprecates the setting, and has told so already
        warnings.simplefilter("ignore")
        return str(django_settings.EMAIL_BACKEND)
