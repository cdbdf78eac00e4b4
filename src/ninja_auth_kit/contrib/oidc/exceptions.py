"""The errors of providers. `api.py` gives each its HTTP status."""

from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.contrib.factors.exceptions import InvalidCeremonyError, InvalidChallengeError, LastWayInError
from ninja_auth_kit.exceptions import AuthKitError, EmailNotVerifiedError


class InvalidFlowError(InvalidCeremonyError):
    """The flow token is not genuine, expired, used, or of another session: the same answer for all."""


class InvalidSignupError(InvalidChallengeError):
    """The signup token is not genuine, expired or used, or the identity has an account by now."""


class ProviderNotFoundError(AuthKitError):
    """`OIDC["PROVIDERS"]` does not have this provider."""

    code = "not_found"
    message = _("This provider does not exist.")


class IdentityNotFoundError(AuthKitError):
    """The user has no such identity: the same answer for unknown and other users' identities."""

    code = "not_found"
    message = _("This identity is not linked to your account.")


class ProviderRefusedError(AuthKitError):
    """What came back from the provider does not prove who the user is: the same answer for every reason.

    Attributes:
        reason: a word for the audit event and the log. The client does not learn it.
    """

    code = "provider_refused"
    message = _("The provider did not confirm who you are. Start again.")

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class ProviderUnavailableError(AuthKitError):
    """The provider cannot be reached, takes too long, or does not answer as the protocol requires."""

    code = "provider_unavailable"
    message = _("The provider cannot be reached. Try again later, or log in another way.")


class ProviderEmailNotVerifiedError(EmailNotVerifiedError):
    """The provider has vouched for no address, or is not trusted for them: the same with and without an account."""

    message = _(
        "The provider has not confirmed your email address. Log in another way, and link the provider to your account."
    )


class AccountExistsError(AuthKitError):
    """Another account has the email address that the provider has confirmed."""

    code = "account_exists"
    message = _("There is an account with your email address. Log in to it, and link the provider there.")


class IdentityTakenError(AuthKitError):
    """The identity belongs to another account, or the account has another identity of this provider."""

    code = "identity_taken"
    message = _("This identity belongs to another account, or your account has another one of this provider.")


class LastIdentityError(LastWayInError):
    """The account has no password, and this is its last way to log in."""

    message = _("You could not log in any more. Set a password first, or link another provider.")
