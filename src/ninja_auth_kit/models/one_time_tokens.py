"""One-time tokens: the tokens in the links of emails.

Each can be used once, for one purpose and one account.
"""

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

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
        """Return a new token for a user and a purpose.

        It invalidates the former token of the user for this purpose. It is stored with one
        statement: of two tokens that are issued at the same time, only the later one is valid.
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
        self.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["user", "purpose"],
            update_fields=["email", "digest", "auth_hash", "expires_at", "used_at"],
        )
        return token

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
        for row in self.filter(user=before, purpose=Purpose.RESET_PASSWORD):
            if row.is_bound_to(before) and row.email == getattr(after, email_field()):
                row.auth_hash = password_fingerprint(row.binding(after))
                row.save(update_fields=["auth_hash"])

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

        It is one conditional UPDATE, so exactly one of several callers gets True.
        """
        now = timezone.now()
        usable = self.filter(pk=token.pk, digest=token.digest, used_at=None, expires_at__gt=now)
        return usable.update(used_at=now) == 1


class OneTimeToken(models.Model):
    """A one-time token, bound to a user, an address and a purpose.

    There is at most one for each user and purpose.

    Attributes:
        email: the address that the token was sent to.
        digest: the keyed digest of the token, never the token.
        auth_hash: a keyed digest of what the token is bound to, see `binding`. An attacker who can
            write to the database, but has no key, cannot move a token to another user or another
            address.
        used_at: when the token was used, or None.
    """

    purpose = models.CharField(max_length=20, choices=Purpose)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="+",
        db_index=False,  # the unique constraint begins with it
        db_constraint=False,
    )
    email = models.CharField(max_length=254)
    digest = models.CharField(max_length=500)
    auth_hash = models.CharField(max_length=100)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    objects = OneTimeTokenManager()

    class Meta:
        verbose_name = _("one-time token")
        verbose_name_plural = _("one-time tokens")
        indexes = [models.Index(fields=["expires_at"], name="authkit_one_time_by_expiry")]
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="authkit_one_time_token"),
            models.UniqueConstraint(fields=["user", "purpose"], name="authkit_one_time_per_purpose"),
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
