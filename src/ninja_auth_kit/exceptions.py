"""The exceptions of the services, each with a stable `code` and a translated message.

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
    ├── StepUpRequiredError           insufficient_user_authentication
    ├── InvalidOneTimeTokenError      invalid_token
    ├── SessionNotFoundError          not_found
    ├── ThrottledError                throttled
    └── ServiceUnavailableError       service_unavailable

Codes are for programs and are never translated. Messages are for people and never contain what the
caller sent. The table in `api/errors.py` maps exceptions to HTTP statuses.
"""

import re
import traceback
from dataclasses import dataclass

import psycopg
from django.db import Error as DatabaseApiError
from django.db import InterfaceError, OperationalError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class AuthKitError(Exception):
    """The base class of all exceptions of this app. Raise one of its subclasses."""

    code = "error"
    message: str | Promise = _("The request could not be completed.")

    def __str__(self) -> str:
        return str(self.message)


def clear_local_variables(error: BaseException) -> None:
    """Remove local variables and database rows from an error and from the errors that led to it.

    Error trackers send the local variables of every frame, and passwords and tokens are among them
    (ASVS 16.2.5). Django's `sensitive_variables` affects only Django's own reports. It does not
    cover what the authentication backends call: they name `password`, which becomes `raw_password`
    in the functions below them. And if a row violates a constraint, PostgreSQL quotes the row, with
    the password hash, from the second line of its message on.

    Args:
        error: the error that is about to leave; frames that are still running keep their variables.
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
    """What is wrong with one field.

    Attributes:
        field: the name of the field, or "" for the whole input.
        code: a stable code.
        message: a translated message.
    """

    field: str
    code: str
    message: str | Promise


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


def input_name(text: str) -> str:
    """Return the name of a member of the input as an error may repeat it: "" unless it looks like a name.

    A long text, or one with other characters, may be a value that was sent in the wrong place.
    """
    return text if _NAME.fullmatch(text) else ""


class InvalidInputError(AuthKitError):
    """The input has the wrong structure or violates a rule. `errors` names the fields and the reasons."""

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
    """The user is unknown or disabled, or the password is wrong or unusable: the same answer for all (ASVS 6.3.8)."""

    code = "invalid_credentials"
    message = _("The account or the password is not correct. Check both and try again.")


class EmailNotVerifiedError(AuthKitError):
    """The password is right, but the email address is not verified. Never raised before the password is checked."""

    code = "email_not_verified"
    message = _(
        "Verify your email address before you log in. Open the link in the verification email, or request a new link."
    )


class WrongPasswordError(AuthKitError):
    """The password that confirms a change is wrong. The caller is logged in, so the answer may say this."""

    code = "wrong_password"
    message = _("The password is not correct. Enter your current password and try again.")


class AccountProtectedError(AuthKitError):
    """Your project has rows that protect their user from deletion, so the account cannot be deleted."""

    code = "account_protected"
    message = _("This account cannot be deleted while other records depend on it. Contact the operator of the site.")


class SessionLimitReachedError(AuthKitError):
    """The user has as many sessions as `SESSION_LIMIT` allows, and `SESSION_LIMIT_POLICY` is "reject"."""

    code = "session_limit_reached"
    message = _("You have reached the maximum number of sessions. Log out on another device first.")


class InvalidTokenError(AuthKitError):
    """The access or refresh token is missing, malformed, forged or unknown: the same answer for all (JWT-26)."""

    code = "invalid_token"
    message = _("The token is missing or not valid. Log in again.")


class TokenExpiredError(InvalidTokenError):
    """The token is genuine, but has expired. Raised only after the signature was verified."""

    code = "token_expired"
    message = _("The token has expired. Request a new token or log in again.")


class TokenReusedError(InvalidTokenError):
    """A refresh token was reused after its rotation, and its session was ended (RFC 9700 section 4.14.2)."""

    code = "token_reused"
    message = _(
        "The refresh token has already been used. The session has been ended to protect your account. Log in again."
    )


class SessionEndedError(InvalidTokenError):
    """The token is genuine, but its session has ended: logout, another login, a new password, a disabled account."""

    code = "session_ended"
    message = _("The session has ended. Log in again.")


class StepUpRequiredError(AuthKitError):
    """The session is valid, but its user must prove more, or prove it again (RFC 9470 section 3).

    Attributes:
        acr: the level that is required, or None.
        max_age: how many seconds ago the user may have been authenticated, or None.
    """

    code = "insufficient_user_authentication"
    message = _("Confirm that it is you, and try again.")

    def __init__(self, *, acr: str | None = None, max_age: int | None = None) -> None:
        super().__init__(acr, max_age)
        self.acr, self.max_age = acr, max_age

    @property
    def required(self) -> dict[str, str | int]:
        """What is required, by the name of the parameter of the challenge."""
        named = {"acr_values": self.acr, "max_age": self.max_age}
        return {name: value for name, value in named.items() if value is not None}


class InvalidOneTimeTokenError(AuthKitError):
    """The one-time token is unknown, used, expired, replaced or for another purpose, or the password is wrong."""

    code = "invalid_token"
    message = _(
        "The link is not valid, has expired or was already used. If you have used it, log in. Otherwise, request a "
        "new link."
    )

    def __init__(self, *, or_password: bool = False) -> None:
        """Choose the message.

        Args:
            or_password: whether a password was sent as well. The message must not reveal which of
                the two is wrong.
        """
        super().__init__()
        if or_password:
            self.message = _(
                "The link or the password is not valid. Check the password and try again. If you have already used "
                "the link, log in. Otherwise, request a new link."
            )


class SessionNotFoundError(AuthKitError):
    """The user has no such active session: the same answer for unknown, ended and other users' sessions."""

    code = "not_found"
    message = _("The session does not exist or has ended.")


class ServiceUnavailableError(AuthKitError):
    """The database did not answer, or too many passwords are being hashed. The request is rejected (ASVS 16.5.3)."""

    code = "service_unavailable"
    message = _("The service is not available at the moment. Try again later.")


class ThrottledError(AuthKitError):
    """A rate limit of `THROTTLES` is reached. The request was not examined, so the answer reveals nothing about it."""

    code = "throttled"
    message = _("There have been too many attempts. Wait a while and try again.")

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after  # seconds, at least 1


_READ_ONLY = "25006"  # read_only_sql_transaction, which is not an OperationalError


def is_read_only(error: BaseException) -> bool:
    """Return whether a database error says that the server accepts no writes: it is a replica, or its disk is full.

    Args:
        error: any exception. An error of Django has that of its driver as its cause.
    """
    return getattr(error.__cause__, "sqlstate", None) == _READ_ONLY


def describe_database_error(error: DatabaseApiError) -> str:
    """Return a description of a database error for operators.

    It quotes the first line of the message from PostgreSQL or its driver. Neither repeats a
    password.

    Args:
        error: a `DatabaseError` or an `InterfaceError` of Django.
    """
    lines = str(error).strip().splitlines()
    message = lines[0].rstrip(". ") if lines else type(error).__name__
    if type(error.__cause__).__name__ in {"UndefinedTable", "UndefinedColumn"}:
        return f"Database error: {message}. Run `manage.py migrate`."
    if is_read_only(error):
        return (
            f"The database is read-only: {message}. If it is a replica, such as the former primary after a failover, "
            "set 'target_session_attrs': 'read-write' in the OPTIONS of DATABASES."
        )
    if isinstance(error, OperationalError | InterfaceError):
        return f"The database is not available: {message}."
    return f"Database error: {message}."
