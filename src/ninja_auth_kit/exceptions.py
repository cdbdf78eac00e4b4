"""Everything that can go wrong, each with a stable `code` and a translated message.

    AuthKitError
    ├── InvalidInputError             validation_error
    ├── RegistrationClosedError       registration_closed
    ├── InvalidCredentialsError       invalid_credentials
    ├── EmailNotVerifiedError         email_not_verified
    ├── WrongPasswordError            wrong_password
    ├── AccountProtectedError         account_protected
    ├── SessionLimitReachedError      session_limit_reached
    ├── InvalidTokenError             invalid_token
    │   ├── TokenExpiredError         token_expired
    │   ├── TokenReusedError          token_reused
    │   └── SessionEndedError         session_ended
    ├── InvalidOneTimeTokenError      invalid_token
    ├── SessionNotFoundError          not_found
    ├── ThrottledError                throttled
    └── ServiceUnavailableError       service_unavailable

Codes are for programs and never translated; messages are for people and never contain what the caller sent.
Which HTTP status a code has is decided in one table, in `api/errors.py`.
"""

import traceback
from dataclasses import dataclass

import psycopg
from django.db import Error as DatabaseApiError
from django.db import InterfaceError, OperationalError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class AuthKitError(Exception):
    """What every error of the kit derives from; raise one of its subclasses, not this."""

    code = "error"
    message: str | Promise = _("The request could not be completed.")

    def __str__(self) -> str:
        return str(self.message)


def clear_local_variables(error: BaseException) -> None:
    """Take out of an error, and of those that led to it, what may have been sent: local variables and rows.

    Error trackers send the local variables of every frame, and passwords and tokens are among them (ASVS 16.2.5).
    Django's `sensitive_variables` stops Django's own reports alone, and its authentication backends undo it below
    themselves: they name `password`, and what they call has it as `raw_password`. And where a row breaks a rule,
    PostgreSQL quotes it, with the hash of the password, from the second line on.

    Args:
        error: on its way out; frames that still run keep their variables.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        if isinstance(current, DatabaseApiError | psycopg.Error):
            current.args = tuple(arg.partition("\n")[0] if isinstance(arg, str) else type(arg) for arg in current.args)
        current = current.__cause__ or current.__context__


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field: its name ("" for the whole), a stable code, a translated message."""

    field: str
    code: str
    message: str | Promise


class InvalidInputError(AuthKitError):
    """The input has the wrong shape or breaks a rule; `errors` says which field and why."""

    code = "validation_error"
    message = _("The input is not valid.")

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(*(error.code for error in errors))
        self.errors = errors


class RegistrationClosedError(AuthKitError):
    """`REGISTRATION_OPEN` is False."""

    code = "registration_closed"
    message = _("Registration is closed. New accounts cannot be created.")


class InvalidCredentialsError(AuthKitError):
    """Unknown user, wrong password, disabled account, no usable password: one answer (ASVS 6.3.8)."""

    code = "invalid_credentials"
    message = _("The account or the password is not correct. Check both and try again.")


class EmailNotVerifiedError(AuthKitError):
    """The password is right, but the e-mail address is not verified. Never raised before the password is checked."""

    code = "email_not_verified"
    message = _(
        "Verify your email address before you log in. Open the link in the verification email, or request a new link."
    )


class WrongPasswordError(AuthKitError):
    """The password that confirms a change is not that of the account. The caller is logged in, so it may be told."""

    code = "wrong_password"
    message = _("The password is not correct. Enter your current password and try again.")


class AccountProtectedError(AuthKitError):
    """The host has rows that must not lose their user, so the account cannot be deleted."""

    code = "account_protected"
    message = _("This account cannot be deleted while other records depend on it. Contact the operator of the site.")


class SessionLimitReachedError(AuthKitError):
    """The user has all the sessions `SESSION_LIMIT` allows, and `SESSION_LIMIT_POLICY` is "reject"."""

    code = "session_limit_reached"
    message = _("You have reached the maximum number of sessions. Log out on another device first.")


class InvalidTokenError(AuthKitError):
    """An access or refresh token that is missing, malformed, forged or unknown: one answer for all (JWT-26)."""

    code = "invalid_token"
    message = _("The token is missing or not valid. Log in again.")


class TokenExpiredError(InvalidTokenError):
    """A genuine token past its time. Raised only after the signature proved genuine."""

    code = "token_expired"
    message = _("The token has expired. Request a new token or log in again.")


class TokenReusedError(InvalidTokenError):
    """A refresh token that was rotated away came back, and its session was ended (RFC 9700 section 4.14.2)."""

    code = "token_reused"
    message = _(
        "The refresh token has already been used. The session has been ended to protect your account. Log in again."
    )


class SessionEndedError(InvalidTokenError):
    """A genuine token of a session that has ended: logout, another login, a changed password, a disabled account."""

    code = "session_ended"
    message = _("The session has ended. Log in again.")


class InvalidOneTimeTokenError(AuthKitError):
    """A mailed token that is unknown, used, expired, superseded, of another purpose, or sent with a wrong password."""

    code = "invalid_token"
    message = _("The link is not valid or has expired. Request a new one.")

    def __init__(self, *, or_password: bool = False) -> None:
        """Say that it is the link, or the link or the password: which of the two, nobody is to learn."""
        super().__init__()
        if or_password:
            self.message = _(
                "The link or the password is not valid. Check the password and try again, or request a new link."
            )


class SessionNotFoundError(AuthKitError):
    """No such active session of this user; foreign, unknown and ended ones look alike."""

    code = "not_found"
    message = _("The session does not exist or has ended.")


class ServiceUnavailableError(AuthKitError):
    """The database did not answer, or too many passwords are being hashed. Nobody gets in then (ASVS 16.5.3)."""

    code = "service_unavailable"
    message = _("The service is not available at the moment. Try again later.")


class ThrottledError(AuthKitError):
    """A limit of `THROTTLES` is reached. What was asked for has not been looked at: right and wrong look alike."""

    code = "throttled"
    message = _("There have been too many attempts. Wait a while and try again.")

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after  # seconds, at least 1


def describe_database_error(error: DatabaseApiError) -> str:
    """Return one sentence about a failure of the database, for operators.

    It quotes the first line that PostgreSQL or its driver says. Neither repeats a password.

    Args:
        error: a `DatabaseError` or an `InterfaceError` of Django.
    """
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(". ") if lines else type(error).__name__
    if type(error.__cause__).__name__ in {"UndefinedTable", "UndefinedColumn"}:
        return f"The database refuses: {said}. Has migrate been run?"
    if isinstance(error, OperationalError | InterfaceError):
        return f"The database is away: {said}."
    return f"The database refuses: {said}."
