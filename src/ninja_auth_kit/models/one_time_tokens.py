"""Tokens that go out in mails and are good for one use."""

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
    """Return the value of `OneTimeToken.digest` for a token. A token digested for one purpose serves no other."""
    return digest(_label(purpose), token)


def one_time_token_digests(*, purpose: str, token: str) -> list[str]:
    """Return the values that `OneTimeToken.digest` may have for a token, one for each root secret."""
    return digests(_label(purpose), token)


def _label(purpose: str) -> str:
    return f"one-time token: {purpose}"


class Purpose(models.TextChoices):
    """What a one-time token is good for, and for nothing else."""

    VERIFY_EMAIL = "verify_email", _("verify the email address")
    RESET_PASSWORD = "reset_password", _("reset the password")  # a purpose, not a password
    CHANGE_EMAIL = "change_email", _("change the email address")


class OneTimeTokenManager(PrimaryManager["OneTimeToken"]):
    """Issuing, finding and consuming one-time tokens."""

    @sensitive_variables()
    def issue(self, *, purpose: Purpose, user: Any, email: str, expires_at: datetime) -> str:
        """Return a new token for this user and purpose; the older one of the purpose is void from now on.

        One statement, so two that come at once leave one token, the later one.
        """
        token = new_one_time_token()
        row = OneTimeToken(
            purpose=purpose,
            user=user,
            email=email,
            digest=one_time_token_digest(purpose=purpose, token=token),
            expires_at=expires_at,
        )
        row.auth_hash = password_fingerprint(row.bound_to(user))
        self.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["user", "purpose"],
            update_fields=["email", "digest", "auth_hash", "expires_at", "used_at"],
        )
        return token

    @sensitive_variables()
    def find(self, *, purpose: Purpose, token: str) -> "OneTimeToken | None":
        """Return the row of a token that can still be used, with its user and the user's address."""
        digests = one_time_token_digests(purpose=purpose, token=token)
        live = self.filter(digest__in=digests, used_at=None, expires_at__gt=timezone.now())
        return live.select_related("user", "user__authkit_email").first()

    def rebind(self, *, before: Any, after: Any) -> None:
        """Let the link for a new password outlive a change of the account that its mailbox did not ask for.

        The mailbox must be the same to the letter: two spellings are one for most mail servers, and not for all.

        Args:
            before: the user as it was; locked. A token that was not bound to it stays as void as it is.
            after: the same user, as it will be stored.
        """
        for row in self.filter(user=before, purpose=Purpose.RESET_PASSWORD):
            if row.is_bound_to(before) and row.email == getattr(after, email_field()):
                row.auth_hash = password_fingerprint(row.bound_to(after))
                row.save(update_fields=["auth_hash"])

    def consume(self, token: "OneTimeToken") -> bool:
        """Use a token up, by one conditional UPDATE: of any number of callers, one gets True."""
        now = timezone.now()
        live = self.filter(pk=token.pk, digest=token.digest, used_at=None, expires_at__gt=now)
        return live.update(used_at=now) == 1


class OneTimeToken(models.Model):
    """The digest of a mailed token, bound to a user, an address and a purpose; one per user and purpose.

    Attributes:
        auth_hash: a keyed digest of what it is bound to. Whoever can write to the database, but has no key, cannot
            point a token of their own at another user or another address.
    """

    purpose = models.CharField(max_length=20, choices=Purpose)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database does, see `user_ties`
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

    def bound_to(self, user: Any) -> str:
        """Return what ties the token to a user, an address and, but for a verification, the state of the account.

        A verification proves the address alone, and a login may renew the hash of the password meanwhile.
        """
        state = "" if self.purpose == Purpose.VERIFY_EMAIL else account_state(user)
        return "\n".join([self.digest, str(user.pk), self.email, state])

    def is_bound_to(self, user: Any) -> bool:
        """Tell whether it was mailed for this user, as the user is now."""
        return is_password_fingerprint(self.auth_hash, self.bound_to(user))
