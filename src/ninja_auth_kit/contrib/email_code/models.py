"""Login codes: the keyed digest of each code that was emailed, until it expires."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.users import account_state
from ninja_auth_kit.tokens import DIGEST_PATTERN, Ticket
from ninja_auth_kit.tokens.digests import digest, is_digest_of

_CODE, _STATE = "login code", "login code state"


def key_of(ticket: Ticket) -> uuid.UUID:
    """Return the primary key of the code of a ticket. It reveals nothing about the ticket."""
    return uuid.UUID(bytes=ticket.derive("login code")[:16])


class LoginCodeManager(PrimaryManager["LoginCode"]):
    """Store, find and use up codes."""

    @sensitive_variables()
    def store(self, *, ticket: uuid.UUID, user: Any | None, email: str, code: str, expires_at: datetime) -> None:
        """Store a new code in place of an earlier one of the ticket, which an interrupted process may have stored.

        A code that was used stays used.
        """
        row = LoginCode(ticket=ticket, user=user, email=email, expires_at=expires_at)
        row.digest = digest(_CODE, row.with_code(code))
        row.auth_hash = digest(_STATE, row.binding(user))
        fields = ("user", "email", "digest", "auth_hash", "expires_at")
        self.bulk_create([row], update_conflicts=True, unique_fields=["ticket"], update_fields=fields)

    def of_ticket(self, ticket: Ticket) -> "LoginCode | None":
        """Return the code of a ticket with its user and the address of the user, or None if none was emailed.

        None, too, if the default manager hides the user by now, such as one whom the project counts as deleted.
        """
        users = get_user_model()._default_manager.using(accounts_database()).order_by().values("pk")
        usable = self.filter(models.Q(user=None) | models.Q(user__in=users), pk=key_of(ticket))
        return usable.select_related("user", "user__authkit_email").first()

    def use(self, row: "LoginCode") -> bool:
        """Use a code up in the open transaction, and return whether it was not used before.

        It is one conditional UPDATE, so exactly one of several callers gets True.
        """
        now = timezone.now()
        usable = self.filter(pk=row.pk, digest=row.digest, used_at=None, expires_at__gt=now)
        return usable.update(used_at=now) == 1


class LoginCode(models.Model):
    """A code that was emailed, bound to the ticket of its request: the request of a stranger voids no other code.

    Attributes:
        ticket: derived from the ticket, see `key_of`.
        user: whom the code logs in, or None if it registers the address.
        email: the address that the code was sent to.
        digest: the keyed digest of the ticket, the address and the code, never the code.
        auth_hash: a keyed digest of the row and of the state of the account, see `binding`. An attacker who can write
            to the database, but has no key, cannot move a code to another user.
        used_at: when the code was used, or None.
    """

    ticket = models.UUIDField(primary_key=True)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        null=True,
        related_name="+",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    email = models.CharField(max_length=254)
    digest = models.CharField(max_length=100)
    auth_hash = models.CharField(max_length=100)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    objects = LoginCodeManager()

    class Meta:
        app_label = "ninja_auth_kit_email_code"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("login code")
        verbose_name_plural = _("login codes")
        indexes = [
            models.Index(fields=["user"], condition=models.Q(user__isnull=False), name="authkit_code_by_user"),
            models.Index(fields=["expires_at"], name="authkit_code_by_expiry"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_code_digest"),
            models.CheckConstraint(condition=models.Q(auth_hash__regex=DIGEST_PATTERN), name="authkit_code_state"),
        ]

    def __str__(self) -> str:
        return f"login code {self.pk}"

    def with_code(self, code: str) -> str:
        """Return what the digest of a code is made of."""
        return "\n".join([str(self.ticket), self.email, code])

    @sensitive_variables()
    def is_code(self, code: str) -> bool:
        """Return whether this is the code."""
        return is_digest_of(self.digest, _CODE, self.with_code(code))

    def binding(self, user: Any | None) -> str:
        """Return what the code is bound to: a user, an address and the state of the account. It is secret."""
        account = "" if user is None else f"{user.pk}\n{account_state(user)}"
        return "\n".join([str(self.ticket), self.email, self.digest, account])

    def is_bound_to(self, user: Any | None) -> bool:
        """Return whether the code was sent for this user, whose account has not changed since."""
        return is_digest_of(self.auth_hash, _STATE, self.binding(user))


@sensitive_variables()
def burn_comparison(ticket: uuid.UUID, email: str, code: str) -> None:
    """Compare a code with none.

    Attack: without it, a wrong code would be refused faster if no code was emailed, because no account has the
    address.

    Test:
    tests/features/email_code/test_enumeration_by_code.py::test_a_wrong_code_is_compared_whether_or_not_one_was_emailed
    """
    LoginCode(ticket=ticket, email=email, digest=digest(_CODE, "")).is_code(code)
