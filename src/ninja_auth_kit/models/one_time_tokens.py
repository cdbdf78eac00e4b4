"""One-time tokens: the tokens in the links of emails.

Each can be used once, for one purpose and one account.
"""

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings as django_settings
from django.db import connections, models
from django.db.models import Exists
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.users import account_state, email_field
from ninja_auth_kit.tokens.digests import (
    DIGEST_PATTERN,
    digest,
    digests,
    is_password_fingerprint,
    password_fingerprint,
)

PREFIX = "nako_"
_MAXIMUM_LIVE = 5  # tokens of one user and purpose: without rate limits, anyone could request any number

# Used tokens stay until they expire.
_ISSUE = """
WITH kept AS (
    SELECT id FROM {table} WHERE user_id = %(user)s AND purpose = %(purpose)s AND used_at IS NULL
        AND lower(email) = lower(%(email)s) AND expires_at > %(now)s
    ORDER BY expires_at DESC LIMIT %(kept)s
), superseded AS (
    DELETE FROM {table} WHERE user_id = %(user)s AND purpose = %(purpose)s
        AND (used_at IS NULL OR expires_at <= %(now)s) AND id NOT IN (SELECT id FROM kept)
)
INSERT INTO {table} (purpose, user_id, email, digest, auth_hash, expires_at)
VALUES (%(purpose)s, %(user)s, %(email)s, %(digest)s, %(auth_hash)s, %(expires_at)s)
"""


def new_one_time_token() -> str:
    """Return a new one-time token: the prefix and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def one_time_token_digest(*, purpose: str, token: str) -> str:
    """Return the value of `OneTimeToken.digest` for a token.

    The purpose is part of the key, so a token for one purpose is not found for another.
    """
    return digest(_label(purpose), token)


def one_time_token_digests(*, purpose: str, token: str) -> list[str]:
    """Return the possible values of `OneTimeToken.digest` for a token, one for each root secret."""
    return digests(_label(purpose), token)


def _label(purpose: str) -> str:
    return f"one-time token: {purpose}"


class Purpose(models.TextChoices):
    """The one thing that a one-time token can be used for."""

    VERIFY_EMAIL = "verify_email", _("verify the email address")
    RESET_PASSWORD = "reset_password", _("reset the password")  # a purpose, not a password
    CHANGE_EMAIL = "change_email", _("change the email address")


class OneTimeTokenManager(PrimaryManager["OneTimeToken"]):
    """Issue, find and consume one-time tokens."""

    @sensitive_variables()
    def issue(self, *, purpose: Purpose, user: Any, email: str, expires_at: datetime) -> str:
        """Return a new token for a user, a purpose and an address.

        Earlier tokens of the same purpose and address stay valid, at most four. Those for another
        address are deleted: the user has asked for this one instead. It takes one statement.
        """
        token = new_one_time_token()
        row = OneTimeToken(
            purpose=purpose,
            user=user,
            email=email,
            digest=one_time_token_digest(purpose=purpose, token=token),
            expires_at=expires_at,
        )
        row.auth_hash = password_fingerprint(row.binding(user))
        self._insert_and_delete_superseded(row)
        return token

    @sensitive_variables()
    def _insert_and_delete_superseded(self, row: "OneTimeToken") -> None:
        connection = connections[accounts_database()]
        names = ("purpose", "user", "email", "digest", "auth_hash", "expires_at")
        columns: dict[str, Any] = {name: OneTimeToken._meta.get_field(name) for name in names}
        values = {
            name: field.get_db_prep_save(getattr(row, field.attname), connection) for name, field in columns.items()
        }
        table = connection.ops.quote_name(OneTimeToken._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(_ISSUE.format(table=table), {**values, "kept": _MAXIMUM_LIVE - 1, "now": timezone.now()})

    @sensitive_variables()
    def find(self, *, purpose: Purpose, token: str) -> "OneTimeToken | None":
        """Return the row of a token that can still be used, with its user and the address, or None."""
        digests = one_time_token_digests(purpose=purpose, token=token)
        usable = self.filter(digest__in=digests, used_at=None, expires_at__gt=timezone.now())
        return usable.select_related("user", "user__authkit_email").first()

    def rebind(self, *, before: Any, after: Any) -> None:
        """Keep a password reset link valid if the account changes without its owner's request.

        The address must be the same to the letter: not all mail servers deliver two spellings to
        one mailbox.

        Args:
            before: the user before the change; locked. A token that is not bound to this state
                stays invalid.
            after: the same user with the changes that will be saved.
        """
        email = getattr(after, email_field())
        rows = self.filter(user=before, purpose=Purpose.RESET_PASSWORD, email=email, used_at=None)
        bound = [row for row in rows if row.is_bound_to(before)]
        for row in bound:
            row.auth_hash = password_fingerprint(row.binding(after))
        self.bulk_update(bound, ["auth_hash"])

    def rebind_to_new_hash(self, *, before: Any, after: Any) -> None:
        """Keep the links of a user valid if a login renews the hash of the same password.

        Args:
            before: the user with the old hash; locked. A token that is not bound to this state
                stays invalid.
            after: the same user with the new hash.
        """
        for row in self.filter(user=before, used_at=None).exclude(purpose=Purpose.VERIFY_EMAIL):
            if row.is_bound_to(before):
                row.auth_hash = password_fingerprint(row.binding(after))
                row.save(update_fields=["auth_hash"])

    def consume(self, token: "OneTimeToken") -> bool:
        """Mark a token as used, and return whether it was still usable.

        The other tokens of its user for its purpose are marked, too, so that they cannot be used
        any more. It is one conditional UPDATE, so exactly one of several callers gets True, also if
        they have different tokens. Lock the user first.
        """
        now = timezone.now()
        usable = self.filter(pk=token.pk, digest=token.digest, used_at=None, expires_at__gt=now)
        live = self.filter(user=token.user_id, purpose=token.purpose, used_at=None)
        return live.filter(Exists(usable)).update(used_at=now) > 0


class OneTimeToken(models.Model):
    """A one-time token, bound to a user, an address and a purpose.

    There are at most five live ones for each user and purpose. A user who requests a second email
    may open the first.

    Attributes:
        email: the address that the token was sent to.
        digest: the keyed digest of the token, never the token.
        auth_hash: a keyed digest of what the token is bound to, see `binding`. An attacker who can
            write to the database, but has no key, cannot move a token to another user or another
            address.
        used_at: when this token was used, or another one of the same purpose, or None.
    """

    purpose = models.CharField(max_length=20, choices=Purpose)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="+",
        db_index=False,  # an index begins with it
        db_constraint=False,
    )
    email = models.CharField(max_length=254)
    digest = models.CharField(max_length=500)
    auth_hash = models.CharField(max_length=100)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    objects = OneTimeTokenManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("one-time token")
        verbose_name_plural = _("one-time tokens")
        indexes = [
            models.Index(fields=["expires_at"], name="authkit_one_time_by_expiry"),
            models.Index(fields=["user", "purpose"], name="authkit_one_time_by_user"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="authkit_one_time_token"),
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_one_time_digest"),
            models.CheckConstraint(
                condition=models.Q(auth_hash__regex=DIGEST_PATTERN), name="authkit_one_time_auth_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} token {self.pk}"

    def binding(self, user: Any) -> str:
        """Return what the token is bound to: a user, an address and the state of the account.

        A token for a verification is not bound to the state of the account. It verifies only the
        address, and a login may renew the password hash before the link is used.
        """
        state = "" if self.purpose == Purpose.VERIFY_EMAIL else account_state(user)
        return "\n".join([self.digest, str(user.pk), self.email, state])

    def is_bound_to(self, user: Any) -> bool:
        """Return whether the token was sent for this user, whose account has not changed since."""
        return is_password_fingerprint(self.auth_hash, self.binding(user))
