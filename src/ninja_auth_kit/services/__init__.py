"""The use cases of the kit. A service owns its rules and its transaction.

- `register`, `verify_email`, `resend_verification`: an account and its proved address
- `login`, `start_session`, `refresh`, `logout`, `logout_all`: a session and its tokens
- `change_password`, `request_password_reset`, `confirm_password_reset`: the password of an account
- `request_email_change`, `confirm_email_change`: its address
- `update_account`, `delete_account`: its other fields, and its end
- `check_access_token`, `list_sessions`, `end_session`: whose request this is, and where else the user is logged in
- `require_fresh`, `require_confirmation`: how lately and how well the user was authenticated

Arguments are keyword-only (`check_access_token` takes the token); errors are those of `ninja_auth_kit.exceptions`.
Call them outside your own transactions: what a refusal must leave behind, such as a session ended for reuse, is
committed before the error is raised, and a transaction around it that rolls back takes it along. The audit events of
refusals survive even that; receivers of `signal.connect` then hear nothing.
"""

from ninja_auth_kit.services.account import delete_account, update_account
from ninja_auth_kit.services.email_change import confirm_email_change, request_email_change
from ninja_auth_kit.services.freshness import require_confirmation, require_fresh
from ninja_auth_kit.services.internal.finish_login import PendingLogin
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.login import login
from ninja_auth_kit.services.logout import logout, logout_all
from ninja_auth_kit.services.passwords import change_password, confirm_password_reset, request_password_reset
from ninja_auth_kit.services.refresh import refresh
from ninja_auth_kit.services.registration import register
from ninja_auth_kit.services.sessions import (
    check_access_token,
    end_session,
    list_sessions,
    start_session,
)
from ninja_auth_kit.services.verification import resend_verification, verify_email

__all__ = [
    "PendingLogin",
    "TokenPair",
    "change_password",
    "check_access_token",
    "confirm_email_change",
    "confirm_password_reset",
    "delete_account",
    "end_session",
    "list_sessions",
    "login",
    "logout",
    "logout_all",
    "refresh",
    "register",
    "request_email_change",
    "request_password_reset",
    "require_confirmation",
    "require_fresh",
    "resend_verification",
    "start_session",
    "update_account",
    "verify_email",
]
