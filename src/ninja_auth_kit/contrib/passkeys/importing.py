"""Import passkeys of another package, see `contrib.factors.importing`."""

import hashlib
from collections.abc import Collection, Hashable, Mapping, Sequence
from uuid import UUID

from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.factors.former_factors import FormerPasskey, Outcome, RefusedError
from ninja_auth_kit.contrib.factors.importing import Owned, Prepared
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.passkeys.models import MAXIMUM_HANDLE, Passkey
from ninja_auth_kit.contrib.passkeys.settings import rp_id


class PasskeyImporter:
    """Check and store passkeys."""

    @property
    def limit(self) -> int:
        """Return how many passkeys a user may have."""
        limit: int = settings.PASSKEYS["LIMIT"]
        return limit

    def prepare(self, found: FormerPasskey, factor: Factor) -> tuple[Passkey, Hashable, bytes]:
        """Return the sealed row.

        Raises:
            RefusedError: the passkey would not work: browsers would not offer it, or the kit cannot verify it.
            InvalidPasskeyError: it cannot be read.
        """
        # Imported here, because the library takes over half a second.
        from ninja_auth_kit.contrib.passkeys import ceremonies

        domain, new = ceremonies.read_registered(
            found.authenticator_data, transports=found.transports, extensions=found.extensions
        )
        if not 1 <= len(found.user_handle) <= MAXIMUM_HANDLE:
            raise RefusedError(Outcome.UNREADABLE)
        if domain != hashlib.sha256(rp_id().encode()).digest():
            raise RefusedError(Outcome.OTHER_DOMAIN)
        try:
            ceremonies.require_offered(new.public_key)
        except ceremonies.InvalidPasskeyError:
            raise RefusedError(Outcome.OTHER_ALGORITHM) from None
        row = Passkey.of(new, factor, user_handle=found.user_handle)
        return row, new.credential_id, new.credential_id

    def owned(self, items: Sequence[Prepared]) -> Mapping[Hashable, Owned]:
        """Return the passkeys that have these credential IDs already, of any user."""
        wanted = [item.identity for item in items]
        rows = Passkey.objects.filter(credential_id__in=wanted).values_list("credential_id", "factor__user", "pk")
        return {bytes(credential_id): Owned(owner, factor_id) for credential_id, owner, factor_id in rows}

    def store(self, rows: Sequence[Passkey]) -> Collection[UUID]:
        """Store the passkeys, in one order in all transactions, so that two do not wait for each other."""
        Passkey.objects.bulk_create(sorted(rows, key=lambda row: bytes(row.credential_id)), ignore_conflicts=True)
        stored = Passkey.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True)
        return {row.pk for row in rows} - set(stored)

    def catch_up(self, factor_id: UUID, row: Passkey) -> None:
        """Do nothing: allauth does not store the counter of a later use."""


importer = PasskeyImporter()
