"""The errors of passkeys. `api.py` gives each its HTTP status."""

from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.exceptions import AuthKitError


class PasskeyRefusedError(AuthKitError):
    """The passkey that the browser has made is not accepted: the same answer for all reasons."""

    code = "invalid_passkey"
    message = _("This passkey could not be verified. Try again, or use another device.")


class PasskeyExistsError(AuthKitError):
    """The passkey is registered already, for this user or for another one."""

    code = "factor_exists"
    message = _("This passkey is registered already. Use another device.")
