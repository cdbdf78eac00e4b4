"""The errors of second factors. `api.py` gives each its HTTP status."""

from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.exceptions import AuthKitError


class InvalidChallengeError(AuthKitError):
    """The challenge is not genuine, expired, used, or void since the account changed: the same answer for all."""

    code = "invalid_challenge"
    message = _("This step is not valid any more. Start again.")


class InvalidCeremonyError(InvalidChallengeError):
    """The same in an operation of a user who is logged in, to whom a 401 would mean that the session has ended."""


class InvalidFactorError(AuthKitError):
    """The code or the credential of a pending login is wrong, was used, or belongs to another user."""

    code = "invalid_factor"
    message = _("The code or the passkey is not accepted. A code is valid once, so enter the next one.")


class WrongFactorError(AuthKitError):
    """The code or the credential of a user who is logged in is wrong, or a password was sent in place of a factor."""

    code = "wrong_factor"
    message = _("This does not confirm that it is you. Use one of your second factors.")


class WrongFirstCodeError(WrongFactorError):
    """The code of an app that is being added is wrong."""

    message = _("The code is not correct. Check the time of your device, and enter the present code.")


class FactorNotFoundError(AuthKitError):
    """The user has no such factor: the same answer for unknown, unconfirmed and other users' factors."""

    code = "not_found"
    message = _("This second factor does not exist.")


class DeviceNotFoundError(AuthKitError):
    """The user has no such remembered device."""

    code = "not_found"
    message = _("This device is not remembered.")


class NoFactorError(AuthKitError):
    """The user has no second factor, so there is nothing that recovery codes could replace."""

    code = "no_factor"
    message = _("You have no second factor. Add one first.")


class FactorLimitError(AuthKitError):
    """The user has as many factors of this kind as are allowed."""

    code = "limit_reached"
    message = _("You have reached the maximum number of these. Remove one first.")


class LastWayInError(AuthKitError):
    """The account has no password, and this is its last way to log in without one."""

    code = "last_way_in"
    message = _("You could not log in any more. Set a password first, or add another passkey.")
