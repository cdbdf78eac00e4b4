"""The signals of the kit. Each is named in the past tense, for what has happened.

A signal is heard at two moments:

- `signal.connect(receiver)`: after the commit. What the receiver hears is true and final, its failure is logged and
  harms nothing, and an action that was rolled back is never heard of. This is the one for you.
- `signal.in_transaction.connect(receiver)`: inside the transaction of the action, before its commit. An exception
  undoes the action. The audit outbox listens here, so that an event is recorded exactly when its action is.

Every signal carries `user` (None where nobody is known) and `client` (a `ClientInfo`, or None outside a request).
Where an administrator acted, it also carries `by` ("admin") and `actor_id` (the administrator's primary key, as text).
Beside these signals the kit sends Django's own `user_logged_in`, `user_logged_out` and `user_login_failed`.
"""

from typing import Any

from django.db import transaction
from django.dispatch import Signal

from ninja_auth_kit.conf import accounts_database


class ActionSignal(Signal):
    """A signal with two moments: `in_transaction`, which may undo the action, and after the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.in_transaction = Signal()

    def announce(self, *, using: str | None = None, **carried: Any) -> None:
        """Send the signal: to the receivers of `in_transaction` now, to all others after the commit.

        Args:
            using: the alias of the database whose commit counts; by default that of the accounts.
            carried: the arguments of the signal, as documented beside it.

        Raises:
            Exception: whatever a receiver of `in_transaction` raises. The caller's transaction must roll back.
        """
        self.in_transaction.send(sender=self, **carried)
        transaction.on_commit(
            lambda: self.send_robust(sender=self, **carried), using=using or accounts_database(), robust=True
        )


# An account was made, or a pending one of the same address was replaced.   replaced: bool
user_registered = ActionSignal()

# A registration changed nothing.   identifier: str (the address), reason: str
registration_failed = ActionSignal()

# A new verification link was asked for; user is None for an address nobody has.   identifier: str
verification_requested = ActionSignal()

# An address was proved.
email_verified = ActionSignal()

# A verification token or its password was refused.   reason: str
verification_failed = ActionSignal()

# A session began.   session_id: UUID
logged_in = ActionSignal()

# A login was refused.   identifier: str (as typed: never store or log it), reason: str
login_failed = ActionSignal()

# A refresh token was rotated, or its successor handed out once more in the grace period.   session_id: UUID,
# generation: int, rotated: bool (False for the second)
token_refreshed = ActionSignal()

# A refresh token was refused.   session_id: UUID | None, reason: str
refresh_failed = ActionSignal()

# A rotated refresh token came back, and its session was ended.   session_id: UUID, generation: int
refresh_reuse_detected = ActionSignal()

# A user changed the password; that session lives on, the others have ended.   session_id: UUID, sessions_ended: int
password_changed = ActionSignal()

# A change of the password was refused.   session_id: UUID, reason: str
password_change_failed = ActionSignal()

# A link for a new password was asked for; user is None for an address nobody has.   identifier: str
password_reset_requested = ActionSignal()

# A new password was set with a mailed token, and all sessions have ended.   sessions_ended: int
password_reset = ActionSignal()

# A token for a new password was refused.   reason: str
password_reset_failed = ActionSignal()

# A link to another address was asked for.
email_change_requested = ActionSignal()

# An account has another address, and all sessions have ended.   sessions_ended: int
email_changed = ActionSignal()

# Another address was refused, when it was asked for or when it was confirmed.   reason: str
email_change_failed = ActionSignal()

# A user changed fields of the account, as `PROFILE_SCHEMA` allows.   fields: list[str] (their names, never values)
account_updated = ActionSignal()

# A user deleted the account.   sessions_ended: int
account_deleted = ActionSignal()

# The deletion of an account was refused.   reason: str
account_deletion_failed = ActionSignal()

# The user ended one session, or all of them.   session_id: UUID | None, scope: "one" | "all", sessions_ended: int
logged_out = ActionSignal()

# A session was ended by another login, its expiry, the list of sessions or an operator; not by a logout, a reuse, or
# with a password, an address or an account, whose signals tell it.   session_id: UUID, reason: str,
# by: "user" | "admin" | "system"
session_revoked = ActionSignal()

# A limit of THROTTLES was reached; told once for each window of it. user is None where nobody is known.   rule: str,
# identifier: str | None (as typed: never store or log it)
request_throttled = ActionSignal()
