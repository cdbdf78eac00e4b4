"""Recovery codes: look-up secrets in place of a lost factor (NIST SP 800-63B-4 section 3.1.2)."""

import secrets
from typing import Any

from django.db import connections
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.models import RECOVERY_LABEL, RecoveryCode
from ninja_auth_kit.contrib.factors.notices import FactorEmail, promise_notice
from ninja_auth_kit.tokens.digests import digest, digests

# Crockford's alphabet, which has no letters that look like digits. 24 of its letters are 120 bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS, _GROUP = 24, 4
_ALIKE = str.maketrans("ILO", "110", "- ")

# Use a code, and count those that are left, in one statement.
_USE = """
WITH used AS (
    UPDATE {table} SET used_at = %(now)s
    WHERE user_id = %(user)s AND digest = ANY(%(digests)s) AND used_at IS NULL RETURNING 1
)
SELECT (SELECT count(*) FROM used), (SELECT count(*) FROM {table} WHERE user_id = %(user)s AND used_at IS NULL)
"""


def normalized(code: str) -> str:
    """Return a code in its one spelling: without dashes and spaces, with the letters that look like digits as such."""
    return code.upper().translate(_ALIKE)


@sensitive_variables()
def renew_codes(user: Any) -> list[str]:
    """Replace the recovery codes of a locked user, and return the new ones. They cannot be shown again."""
    number = settings.FACTORS["RECOVERY_CODES"]
    codes = ["".join(secrets.choice(_ALPHABET) for _letter in range(_LETTERS)) for _code in range(number)]
    RecoveryCode.objects.filter(user=user.pk).delete()
    RecoveryCode.objects.bulk_create(
        RecoveryCode(user_id=user.pk, digest=digest(RECOVERY_LABEL, _with_user(code, user))) for code in codes
    )
    return ["-".join(code[start : start + _GROUP] for start in range(0, _LETTERS, _GROUP)) for code in codes]


@sensitive_variables()
def use_code(code: str, *, user: Any, client: ClientInfo) -> int | None:
    """Use a code up in the open transaction, and return how many are left; None if it is not one of the user's.

    If several callers use the same code, exactly one of them succeeds. The owner gets an email.
    """
    connection = connections[accounts_database()]
    owner: Any = RecoveryCode._meta.get_field("user")
    key = owner.get_db_prep_save(user.pk, connection)
    found = digests(RECOVERY_LABEL, _with_user(normalized(code), user))
    table = connection.ops.quote_name(RecoveryCode._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(_USE.format(table=table), {"now": timezone.now(), "user": key, "digests": found})
        used, before = cursor.fetchone()
    if not used:
        return None
    left = int(before) - 1  # the statement counts the rows as they were
    signals.recovery_code_used.announce(user=user, client=client, left=left)
    promise_notice(FactorEmail.RECOVERY_CODE_USED, user, client)
    return left


def codes_left(user: Any) -> int:
    """Return how many unused codes a user has."""
    return RecoveryCode.objects.filter(user=user.pk, used_at=None).count()


def _with_user(code: str, user: Any) -> str:
    return f"{code} {user.pk}"
