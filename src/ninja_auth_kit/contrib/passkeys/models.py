"""Passkeys and the handles of their users."""

import secrets
from typing import Any
from uuid import UUID

from django.conf import settings as django_settings
from django.db import connections, models
from django.db.models.functions import Coalesce, Length
from django.db.models.lookups import Exact, Range
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.passkeys.seals import LABEL, is_of_current_root, is_seal_of, seal
from ninja_auth_kit.contrib.passkeys.structures import Assertion, Descriptor, NewPasskey, StoredPasskey
from ninja_auth_kit.features import Rewrapped
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens import DIGEST_PATTERN
from ninja_auth_kit.tokens.sealing import current_prefix, known_root

KIND = "passkey"
HANDLE_LENGTH = 32  # bytes
MAXIMUM_HANDLE = 64  # bytes of another package's handle (WebAuthn Level 3 section 5.4.3)


def new_handle() -> bytes:
    """Return a new user handle: random bytes, which reveal nothing about the user (section 14.6.1)."""
    return secrets.token_bytes(HANDLE_LENGTH)


class PasskeyHandleManager(PrimaryManager["PasskeyHandle"]):
    """Find and make handles."""

    def for_user(self, user: Any) -> bytes:
        """Return the handle of a user, which is made once and never changes."""
        row, _ = self.get_or_create(user=user)
        return bytes(row.handle)


class PasskeyHandle(models.Model):
    """The name that authenticators know a user by. It is neither the primary key nor an address."""

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="+",
        db_constraint=False,
        primary_key=True,
    )
    handle = models.BinaryField(max_length=HANDLE_LENGTH, unique=True, default=new_handle)

    objects = PasskeyHandleManager()

    class Meta:
        app_label = "ninja_auth_kit_passkeys"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("passkey handle")
        verbose_name_plural = _("passkey handles")
        constraints = [
            models.CheckConstraint(condition=Exact(Length("handle"), HANDLE_LENGTH), name="authkit_passkey_handle")
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


# Store a use of a passkey, and the use of its factor, in one statement. The counter rises, or stays zero for an
# authenticator that does not count (WebAuthn Level 3 section 6.1.1): of two parallel uses with one counter, one wins.
_USE = """
WITH used AS (
    UPDATE {passkeys} SET sign_count = %(count)s, backed_up = %(backed_up)s, seal = %(seal)s,
        verifies_user = verifies_user OR %(verified)s
    WHERE factor_id = %(factor)s AND (sign_count < %(count)s OR (sign_count = 0 AND %(count)s = 0))
    RETURNING factor_id
)
UPDATE {factors} SET last_used_at = %(now)s FROM used WHERE id = used.factor_id AND user_id = %(user)s
"""


class PasskeyManager(PrimaryManager["Passkey"]):
    """Read passkeys, and store their uses."""

    def of_user(self, user_id: Any) -> "list[Passkey]":
        """Return the passkeys of a user, the oldest first."""
        return list(self.filter(factor__user=user_id).order_by("factor__created_at", "pk"))

    def find(self, credential_id: bytes) -> "tuple[Passkey, StoredPasskey] | None":
        """Return a passkey with its factor, its user and the address, and what the kit knows about it, with one query.

        Returns None for a row that the kit has not written for its present owner, as for an unknown id.
        """
        handles = PasskeyHandle.objects.filter(user=models.OuterRef("factor__user")).values("handle")
        rows = self.filter(credential_id=credential_id, factor__confirmed_at__isnull=False)
        rows = rows.select_related("factor__user__authkit_email")
        found = rows.annotate(handle=Coalesce("user_handle", models.Subquery(handles))).first()
        if found is None or not found.is_sealed_for(found.factor.user_id):
            return None
        return found, found.stored(bytes(found.handle or b""))

    def use(self, passkey: "Passkey", assertion: Assertion) -> bool:
        """Store the use of a passkey in the open transaction, and return whether its counter was the next one."""
        connection = connections[accounts_database()]
        quote = connection.ops.quote_name
        statement = _USE.format(passkeys=quote(self.model._meta.db_table), factors=quote(Factor._meta.db_table))
        values: dict[str, Any] = {
            "count": assertion.sign_count,
            "backed_up": assertion.backed_up,
            "verified": assertion.is_user_verified,
            "seal": passkey.resealed(),
            "factor": passkey.factor_id,
            "user": passkey.factor.user_id,
            "now": timezone.now(),
        }
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return bool(cursor.rowcount == 1)

    def ways_in(self) -> models.QuerySet["Passkey"]:
        """Return the passkeys that log in alone: without their id, and with a verified user."""
        return self.exclude(discoverable=False).filter(verifies_user=True)

    def of_removed_roots(self) -> models.QuerySet["Passkey"]:
        """Return the passkeys that are refused, because the root secret of their seal is listed no more."""
        return self.exclude(known_root(LABEL, column="seal"))

    def rewrap(self, *, batch: int = 500) -> Rewrapped:
        """Seal the passkeys of former root secrets again, and return what was done."""
        former = self.exclude(seal__startswith=current_prefix(LABEL)).select_related("factor").order_by("pk")
        done, broken = 0, list[UUID]()
        while found := list(former.exclude(pk__in=broken)[:batch]):
            for passkey in found:
                if not passkey.is_sealed_for(passkey.factor.user_id):
                    broken.append(passkey.pk)
                    continue
                # Unless a login has renewed it in the meantime.
                done += self.filter(pk=passkey.pk, seal=passkey.seal).update(seal=passkey.resealed())
        return Rewrapped("passkeys", done, len(broken))


class Passkey(models.Model):
    """A passkey of a user. Its factor has its owner, its name and its times.

    Attributes:
        credential_id: its id, unique among all users (WebAuthn Level 3 section 7.1).
        public_key: a COSE key (RFC 9052 section 7).
        sign_count: the counter of its last use. 0 if the authenticator does not count.
        backup_eligible: whether it can be copied to other devices of its owner. It never changes.
        backed_up: whether it was copied when it was last used.
        aaguid: the model of the authenticator, as the client has said; not proved.
        transports: the words of the browser, separated by spaces.
        discoverable: whether it can be used without its id, or None if the browser has not said.
        verifies_user: whether it has ever verified its user, with a PIN or biometrics.
        user_handle: the user handle that it was registered with, if another package has registered it. Otherwise
            None: the handle is that of `PasskeyHandle`.
        seal: see `seals`.
    """

    factor = models.OneToOneField(
        Factor,
        primary_key=True,
        on_delete=models.DO_NOTHING,  # the database deletes it
        db_constraint=False,
        related_name="passkey",
    )
    credential_id = models.BinaryField(max_length=1023, unique=True)
    public_key = models.BinaryField()
    sign_count = models.BigIntegerField(default=0)
    backup_eligible = models.BooleanField()
    backed_up = models.BooleanField()
    aaguid = models.UUIDField()
    transports = models.CharField(max_length=300, blank=True)
    discoverable = models.BooleanField(null=True)
    verifies_user = models.BooleanField()
    user_handle = models.BinaryField(max_length=MAXIMUM_HANDLE, null=True)
    seal = models.CharField(max_length=100)

    objects = PasskeyManager()

    class Meta:
        app_label = "ninja_auth_kit_passkeys"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("passkey")
        verbose_name_plural = _("passkeys")
        constraints = [
            models.CheckConstraint(condition=Range(Length("credential_id"), (1, 1023)), name="authkit_passkey_id"),
            models.CheckConstraint(
                condition=Range(Length("user_handle"), (1, MAXIMUM_HANDLE)), name="authkit_passkey_user_handle"
            ),
            models.CheckConstraint(condition=models.Q(seal__regex=DIGEST_PATTERN), name="authkit_passkey_seal"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @classmethod
    def of(cls, new: NewPasskey, factor: Factor, *, user_handle: bytes | None = None) -> "Passkey":
        """Return an unsaved row, sealed for the owner of its factor.

        Args:
            new: the passkey.
            factor: its factor.
            user_handle: the user handle that it was registered with; None for that of `PasskeyHandle`.
        """
        row = cls(
            factor_id=factor.pk,
            credential_id=new.credential_id,
            public_key=new.public_key,
            sign_count=new.sign_count,
            backup_eligible=new.backup_eligible,
            backed_up=new.backed_up,
            aaguid=new.aaguid,
            transports=" ".join(new.transports),
            discoverable=new.is_discoverable,
            verifies_user=new.is_user_verified,
            user_handle=user_handle,
        )
        row.set_seal(factor.user_id)
        return row

    def set_seal(self, user_id: Any) -> None:
        """Seal the row for its owner, under the current root secret."""
        self.seal = seal(user_id, *self._keys, backup_eligible=self.backup_eligible)

    def resealed(self) -> str:
        """Return the seal of a row that is genuine, under the current root secret."""
        if is_of_current_root(self.seal):
            return self.seal
        return seal(self.factor.user_id, *self._keys, backup_eligible=self.backup_eligible)

    def is_sealed_for(self, user_id: Any) -> bool:
        """Return whether the kit has written the row for this owner."""
        return is_seal_of(self.seal, user_id, *self._keys, backup_eligible=self.backup_eligible)

    @property
    def descriptor(self) -> Descriptor:
        """What options say about the passkey."""
        return Descriptor(bytes(self.credential_id), tuple(self.transports.split()))

    def stored(self, handle: bytes) -> StoredPasskey:
        """Return what `ceremonies.verify_assertion` compares with. `handle` is that of the owner."""
        return StoredPasskey(*self._keys, self.sign_count, self.backup_eligible, handle)

    @property
    def _keys(self) -> tuple[bytes, bytes]:
        return bytes(self.credential_id), bytes(self.public_key)
