"""Import authenticator apps of another package, see `contrib.factors.importing`."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from uuid import UUID

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.factors.former_factors import FormerTotp, Outcome, RefusedError
from ninja_auth_kit.contrib.factors.importing import Owned, Prepared
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.totp import codes
from ninja_auth_kit.contrib.totp.models import TotpSecret, sealed_secret
from ninja_auth_kit.tokens.sealing import SealBrokenError

MINIMUM_SECRET = 14  # bytes: 112 bits (ASVS 6.5.2)
MAXIMUM_SECRET = 100  # bytes; more does not fit into the column when it is sealed


class TotpImporter:
    """Check and store authenticator apps."""

    @property
    def limit(self) -> int:
        """Return how many apps a user may have."""
        limit: int = settings.TOTP["LIMIT"]
        return limit

    @sensitive_variables()
    def prepare(self, found: FormerTotp, factor: Factor) -> tuple[TotpSecret, Hashable, bytes]:
        """Return the sealed secret. Codes that the other package may have accepted count as used.

        Raises:
            RefusedError: the secret is too short, or the kit would accept none of the codes.
        """
        if len(found.secret) < MINIMUM_SECRET:
            raise RefusedError(Outcome.WEAK_SECRET)
        if len(found.secret) > MAXIMUM_SECRET:
            raise RefusedError(Outcome.UNREADABLE)
        now, drift = int(timezone.now().timestamp()) // codes.STEP, settings.TOTP["DRIFT"]
        last_step = now + found.tolerance if found.last_step is None else found.last_step
        if abs(found.drift) > drift or (found.last_step is not None and last_step > now + drift):
            raise RefusedError(Outcome.CLOCK)
        codes.code_of_step(found.secret, now)  # raises an exception if the library cannot use the secret
        sealed = sealed_secret(found.secret, user_id=factor.user_id, factor_id=factor.pk)
        row = TotpSecret(factor_id=factor.pk, secret=sealed, last_step=last_step)
        return row, (factor.user_id, found.secret), found.secret

    @sensitive_variables()
    def owned(self, items: Sequence[Prepared]) -> Mapping[Hashable, Owned]:
        """Return the secrets that the users have already. The same secret of another user does not matter."""
        users = {item.factor.user_id for item in items}
        rows = TotpSecret.objects.filter(factor__user__in=users, factor__confirmed_at__isnull=False)
        owned: dict[Hashable, Owned] = {}
        for row in rows.select_related("factor"):
            try:
                owned[row.factor.user_id, row.open()] = Owned(row.factor.user_id, row.pk)
            except SealBrokenError:  # of a root secret that was removed
                continue
        return owned

    def store(self, rows: Sequence[TotpSecret]) -> Collection[UUID]:
        """Store the secrets. None can be taken."""
        TotpSecret.objects.bulk_create(rows)
        return ()

    def catch_up(self, factor_id: UUID, row: TotpSecret) -> None:
        """Use up the codes that the other package may have accepted since the last run."""
        TotpSecret.objects.filter(pk=factor_id, last_step__lt=row.last_step).update(last_step=row.last_step)


importer = TotpImporter()
