"""The signals of this app. Each is named in the past tense, for what has happened.

A signal can be received at two moments:

- `signal.connect(receiver)`: after the commit. The receiver is called only if the action was
  committed. If it fails, the error is logged and the action is not affected. Use this one.
- `signal.in_transaction.connect(receiver)`: inside the transaction of the action, before its
  commit. An exception rolls the action back. The audit outbox uses this, so that an event is
  recorded if and only if its action is.

Every signal has the arguments `user` (None if no user is known) and `client` (a `ClientInfo`, or
None outside a request). For an action by an administrator, it also has `by` ("admin") and
`actor_id` (the administrator's primary key as text). Django's own `user_logged_in`,
`user_logged_out` and `user_login_failed` are sent as well.
"""

from typing import Any

from django.db import transaction
from django.dispatch import Signal

from ninja_auth_kit.conf import accounts_database


class ActionSignal(Signal):
    """A signal that is sent twice: by `in_transaction` before the commit, and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.in_transaction = Signal()

    def announce(self, *, using: str | None = None, **carried: Any) -> None:
        """Send the signal to receivers of `in_transaction` now, and to all others after the commit.

        Args:
            using: the alias of the database whose commit to wait for; by default the accounts
                database.
            carried: the arguments of the signal, as documented beside it.

        Raises:
            Exception: any exception of a receiver of `in_transaction`. The caller's transaction
                must roll back.
        """
        self.in_transaction.send(sender=self, **carried)
        transaction.on_commit(
            lambda: self.send_robust(sender=self, **carried), using=using or accounts_database(), robust=True
        )


# An account was created, or a pending registration of its address was replaced.   replaced: bool
user_registered = ActionSignal()

# A registration failed and changed nothing.   identifier: str (the address), reason: str
registration_failed = ActionSignal()

# A new verification link was requested; user is None if no user has the address.   identifier: str
verification_requested = ActionSignal()

# An email address was verified.
email_verified = ActionSignal()

# A verification was rejected, because of its token or the password.   reason: str
verification_failed = ActionSignal()

# A session was started by a login.   session_id: UUID, methods: list[str] (as the claim `amr`), acr: str
logged_in = ActionSignal()

# A login was rejected.   identifier: str | None (as typed: never store or log it), reason: str
login_failed = ActionSignal()

# A refresh token was rotated, or its successor was returned again in the grace
# period.   session_id: UUID, generation: int, rotated: bool (False if returned again)
token_refreshed = ActionSignal()

# A refresh token was rejected.   session_id: UUID | None, reason: str
refresh_failed = ActionSignal()

# A refresh token was reused after its rotation, and its session was ended.   session_id: UUID,
# generation: int
refresh_reuse_detected = ActionSignal()

# A user changed the password. The session of that request goes on, the others have
# ended.   session_id: UUID, sessions_ended: int
password_changed = ActionSignal()

# A change of the password was rejected.   session_id: UUID, reason: str
password_change_failed = ActionSignal()

# A password reset link was requested; user is None if no user has the address.   identifier: str
password_reset_requested = ActionSignal()

# A password was reset with a one-time token, and all sessions have ended.   sessions_ended: int
password_reset = ActionSignal()

# The token of a password reset was rejected.   reason: str
password_reset_failed = ActionSignal()

# A change of the email address was requested.
email_change_requested = ActionSignal()

# The email address of an account was changed, and all sessions have ended.   sessions_ended: int
email_changed = ActionSignal()

# A change of the email address was rejected, when it was requested or confirmed.   reason: str
email_change_failed = ActionSignal()

# A user changed fields of their account, as `PROFILE_SCHEMA` allows.   fields: list[str] (the
# names, never the values)
account_updated = ActionSignal()

# A user deleted their account. Or `authkit_prune` deleted a registration that was never verified;
# it then also has `by` ("system").   sessions_ended: int
account_deleted = ActionSignal()

# The deletion of an account was rejected.   reason: str
account_deletion_failed = ActionSignal()

# A user ended one session or all by a logout.   session_id: UUID | None, scope: "one" | "all",
# sessions_ended: int
logged_out = ActionSignal()

# A session was ended by another login, by its expiry, in the list of sessions or by an operator. A
# logout, a reuse, a new password, a new email address and the deletion of an account have their
# own signals.   session_id: UUID, reason: str, by: "user" | "admin" | "system"
session_revoked = ActionSignal()

# A rate limit of `THROTTLES` was reached. Sent once for each window of the limit. user is None if
# no user is known.   rule: str, identifier: str | None (as typed: never store or log it)
request_throttled = ActionSignal()
