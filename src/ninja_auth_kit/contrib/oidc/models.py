"""Identities: which user of a provider logs in to which account.

The rows of a user are deleted by the database together with the user: see `ninja_auth_kit.models.user_constraints`.
"""

import json
import uuid
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.features import Rewrapped
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens import DIGEST_PATTERN
from ninja_auth_kit.tokens.digests import digest, is_digest_of
from ninja_auth_kit.tokens.sealing import current_prefix, is_sealed_by_current_root, known_root

LABEL = "identity seal"
LENGTH = 255  # of an issuer and of a subject


class IdentityManager(PrimaryManager["Identity"]):
    """Add, find and use identities."""

    def load(self, *, issuer: str, subject: str) -> "Identity | None":
        """Return the identity of an issuer and a subject with its user and the user's address, by one query.

        Its attribute `is_shown` is False if the default manager hides the user.
        """
        shown = get_user_model()._default_manager.using(accounts_database()).order_by()
        rows = self.filter(issuer=issuer, subject=subject).select_related("user", "user__authkit_email")
        return rows.annotate(is_shown=models.Exists(shown.filter(pk=models.OuterRef("user")))).first()

    def add(self, row: "Identity") -> bool:
        """Store a new identity in the open transaction, and return whether it could be.

        It cannot if it belongs to a user already, or if the user has one of this issuer. A parallel transaction that
        stores one is waited for.
        """
        self.bulk_create([row], ignore_conflicts=True)
        return self.filter(pk=row.pk).exists()

    def of_user(self, user_id: Any) -> "models.QuerySet[Identity]":
        """Return the identities of a user, the oldest first."""
        return self.filter(user=user_id).order_by("linked_at", "pk")

    def of_removed_roots(self) -> "models.QuerySet[Identity]":
        """Return the identities that are refused, because the root secret of their seal is listed no more."""
        return self.exclude(known_root(LABEL, column="seal"))

    def rewrap(self, *, batch: int = 500) -> Rewrapped:
        """Seal the identities of former root secrets again, and return what was done."""
        former = self.exclude(seal__startswith=current_prefix(LABEL)).order_by("pk")
        done, broken = 0, list[uuid.UUID]()
        while found := list(former.exclude(pk__in=broken)[:batch]):
            for row in found:
                if not row.is_genuine:
                    broken.append(row.pk)
                    continue
                # Unless a login has renewed it in the meantime.
                done += self.filter(pk=row.pk, seal=row.seal).update(seal=row.resealed())
        return Rewrapped("identities", done, len(broken))


class Identity(models.Model):
    """A user of a provider who can log in to an account. No token of the provider is stored.

    It is found by issuer and subject alone: addresses and names at a provider can pass to somebody else.

    Attributes:
        provider: the id of the provider in `OIDC["PROVIDERS"]` with which it was linked.
        issuer: the issuer of its ID tokens.
        subject: the id of the user at the issuer.
        email: the address that the provider named when it was linked, for show.
        seal: the keyed digest of the user, the issuer and the subject. So who writes to the database without the root
            secret can neither add an identity to an account nor move one.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it
        related_name="+",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    provider = models.CharField(_("provider"), max_length=40)
    issuer = models.CharField(_("issuer"), max_length=LENGTH)
    subject = models.CharField(max_length=LENGTH)
    email = models.CharField(pgettext_lazy("of an account", "email address"), max_length=254, blank=True)
    linked_at = models.DateTimeField(_("linked at"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    seal = models.CharField(max_length=100)

    objects = IdentityManager()

    class Meta:
        app_label = "ninja_auth_kit_oidc"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("identity")
        verbose_name_plural = _("identities")
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="authkit_identity"),
            models.UniqueConstraint(fields=["user", "issuer"], name="authkit_identity_of_user"),
            models.CheckConstraint(condition=models.Q(seal__regex=DIGEST_PATTERN), name="authkit_identity_seal"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.pk}"

    @classmethod
    def sealed(cls, *, user: Any, provider: str, issuer: str, subject: str, email: str = "") -> "Identity":
        """Return an unsaved row, sealed for its owner under the current root secret."""
        row = cls(user_id=user.pk, provider=provider, issuer=issuer, subject=subject, email=email)
        row.seal = digest(LABEL, row._sealed)
        return row

    @property
    def is_genuine(self) -> bool:
        """Whether the kit has written the row for its present owner."""
        return is_digest_of(self.seal, LABEL, self._sealed)

    def resealed(self) -> str:
        """Return the seal of a row that is genuine, under the current root secret."""
        return self.seal if is_sealed_by_current_root(self.seal, LABEL) else digest(LABEL, self._sealed)

    @property
    def _sealed(self) -> str:
        return json.dumps([str(self.user_id), self.issuer, self.subject])
