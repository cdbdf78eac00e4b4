"""Refresh tokens that were revoked before they expired."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens import DIGEST_PATTERN


class BlacklistedToken(models.Model):
    """The digest of the last refresh token of a session that has ended.

    The token is not accepted any more. Each session that ends adds one row and a refresh adds none,
    so the table grows with logins, not with traffic.
    """

    token = models.CharField(max_length=500)
    blacklisted_at = models.DateTimeField(_("blacklisted at"), default=timezone.now)

    objects = PrimaryManager["BlacklistedToken"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("blacklisted token")
        verbose_name_plural = _("blacklisted tokens")
        indexes = [models.Index(fields=["blacklisted_at"], name="authkit_blacklist_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["token"], name="authkit_blacklist_token"),
            models.CheckConstraint(condition=models.Q(token__regex=DIGEST_PATTERN), name="authkit_blacklist_digest"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"
