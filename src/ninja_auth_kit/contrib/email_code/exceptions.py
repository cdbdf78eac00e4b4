"""The errors of email codes. `api.py` gives each its HTTP status."""

from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.exceptions import AuthKitError


class InvalidCodeError(AuthKitError):
    """The emailed code is wrong, or no code was emailed for this challenge: the same answer for both."""

    code = "invalid_factor"
    message = _("The code is not correct. Check the email, or request another code.")


class InvalidCodeChallengeError(AuthKitError):
    """The challenge of an emailed code is not genuine, expired, used, or void since the account changed."""

    code = "invalid_challenge"
    message = _("This code is not valid any more. Request another one.")
