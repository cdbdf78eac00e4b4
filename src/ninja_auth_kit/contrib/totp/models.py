"""The secrets of authenticator apps."""

from typing import Any
from uuid import UUID

from django.db import connections, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.features import Rewrapped
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens.sealing import (
    SEALED_PATTERN,
    SealBrokenError,
    current_prefix,
    is_sealed_by_current_root,
    known_root,
    seal,
    unseal,
)

KIND = "totp"
_LABEL = "totp secret"

# Use the code of a time step up, and note the use of the factor, in one statement. A code counts once, and an older
# one not after a newer (RFC 6238 section 5.2). Of several callers with one step, exactly one finds it unused.
_USE = """
WITH used AS (
    UPDATE {secrets} SET last_step = %(step)s, secret = %(secret)s
    WHERE factor_id = %(factor)s AND last_step < %(step)s RETURNING factor_id
)
UPDATE {factors} SET last_used_at = %(now)s FROM used WHERE id = used.factor_id
"""


class TotpSecretManager(PrimaryManager["TotpSecret"]):
    """Read secrets, and use steps up."""

    def confirmed_of(self, user_id: Any) -> "list[TotpSecret]":
        """Return the confirmed secrets of a user, with the factor, the user and the address, by one query."""
        rows = self.filter(factor__user=user_id, factor__confirmed_at__isnull=False)
        return list(rows.select_related("factor__user__authkit_email").order_by("factor__created_at"))

    def use(self, secret: "TotpSecret", step: int) -> bool:
        """Use a time step up in the open transaction, and return whether it and all later ones were unused.

        The secret was read with its factor, whose `last_used_at` is set in memory, too.
        """
        connection = connections[accounts_database()]
        quote = connection.ops.quote_name
        statement = _USE.format(secrets=quote(self.model._meta.db_table), factors=quote(Factor._meta.db_table))
        now = timezone.now()
        values: dict[str, Any] = {"step": step, "secret": secret.resealed(), "factor": secret.factor_id, "now": now}
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            was_unused = bool(cursor.rowcount == 1)
        if was_unused:
            secret.factor.last_used_at = now
        return was_unused

    def of_removed_roots(self) -> models.QuerySet["TotpSecret"]:
        """Return the secrets that cannot be read, because their root secret is listed no more."""
        return self.exclude(known_root(_LABEL, column="secret")).filter(factor__confirmed_at__isnull=False)

    def rewrap(self, *, batch: int = 500) -> Rewrapped:
        """Encrypt the secrets of former root secrets again, and return what was done."""
        former = self.exclude(secret__startswith=current_prefix(_LABEL)).select_related("factor").order_by("pk")
        done, unreadable = 0, list[UUID]()
        while found := list(former.exclude(pk__in=unreadable)[:batch]):
            for secret in found:
                try:
                    renewed = secret.resealed()
                except SealBrokenError:
                    unreadable.append(secret.pk)
                    continue
                # Unless a login has renewed it in the meantime.
                done += self.filter(pk=secret.pk, secret=secret.secret).update(secret=renewed)
        return Rewrapped("authenticator apps", done, len(unreadable))


class TotpSecret(models.Model):
    """The secret that an authenticator app shares with the server, encrypted.

    It is bound to its user and its factor: moved to another row, it does not open.

    Attributes:
        last_step: the time step of the last code that was used.
    """

    factor = models.OneToOneField(
        Factor,
        primary_key=True,
        on_delete=models.DO_NOTHING,  # the database deletes it
        db_constraint=False,
        related_name="totp",
    )
    secret = models.CharField(max_length=200)
    last_step = models.BigIntegerField(default=0)

    objects = TotpSecretManager()

    class Meta:
        app_label = "ninja_auth_kit_totp"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")
        constraints = [
            models.CheckConstraint(condition=models.Q(secret__regex=SEALED_PATTERN), name="authkit_totp_sealed")
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def open(self) -> bytes:
        """Return the secret.

        Raises:
            SealBrokenError: it cannot be opened: the row was moved or written by others, or its root was removed.
        """
        return unseal(_LABEL, self.secret, context=context_of(self.factor.user_id, self.factor_id))

    def resealed(self) -> str:
        """Return the sealed secret under the current root secret."""
        if is_sealed_by_current_root(self.secret, _LABEL):
            return self.secret
        return sealed_secret(self.open(), user_id=self.factor.user_id, factor_id=self.factor_id)


def sealed_secret(secret: bytes, *, user_id: Any, factor_id: UUID) -> str:
    """Return a secret as it is stored."""
    return seal(_LABEL, secret, context=context_of(user_id, factor_id))


def context_of(user_id: Any, factor_id: UUID) -> str:
    """Return what a secret is bound to."""
    return f"{user_id} {factor_id}"
