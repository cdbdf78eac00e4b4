"""Counters against guessing and flooding: exact under concurrency, because PostgreSQL counts them in one statement."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.compiled_query import array
from ninja_auth_kit.models.managers import PrimaryManager


class Bucket(NamedTuple):
    """What may happen how often in how long: one limit for one subject, whether or not it has a row yet."""

    id: uuid.UUID
    rule: str
    allowed: int
    window: timedelta


class Taken(NamedTuple):
    """A hit that was counted, and the window it was counted in."""

    bucket: Bucket
    resets_at: datetime


# One statement, so that fifty at once are counted one by one. Where any bucket is full none is touched: a refused
# attempt writes nothing. The ids are locked in their order, or two attempts could wait for each other.
# A counter that a crash sets back by a moment harms nobody, so nobody waits for the disk, unless others' work commits
# with it.
_TAKE = """
WITH wanted AS (
    SELECT id, rule, allowed, resets_at
    FROM unnest(%(ids)s::uuid[], %(rules)s::text[], %(allowed)s::int[], %(resets)s::timestamptz[])
        AS bucket (id, rule, allowed, resets_at),
        (SELECT CASE WHEN %(alone)s THEN set_config('synchronous_commit', 'off', TRUE) END) AS lightly
), filled AS (
    SELECT FROM wanted JOIN {table} AS kept USING (id)
    WHERE kept.resets_at > %(now)s AND kept.hits >= wanted.allowed
)
INSERT INTO {table} AS kept (id, rule, hits, allowed, resets_at, announced)
SELECT id, rule, 1, allowed, resets_at, FALSE FROM wanted WHERE NOT EXISTS (SELECT FROM filled) ORDER BY id
ON CONFLICT (id) DO UPDATE SET
    hits = CASE WHEN kept.resets_at > %(now)s THEN kept.hits + 1 ELSE 1 END,
    announced = kept.announced AND kept.resets_at > %(now)s,
    resets_at = CASE WHEN kept.resets_at > %(now)s THEN kept.resets_at ELSE EXCLUDED.resets_at END
WHERE kept.resets_at <= %(now)s OR kept.hits < EXCLUDED.allowed
RETURNING id, resets_at
"""

_GIVE_BACK = """
WITH given AS (
    SELECT id, taken.resets_at FROM {table} JOIN unnest(%(ids)s::uuid[], %(resets)s::timestamptz[])
        AS taken (id, resets_at) USING (id),
        (SELECT CASE WHEN %(alone)s THEN set_config('synchronous_commit', 'off', TRUE) END) AS lightly
    ORDER BY id FOR UPDATE OF {table}
)
UPDATE {table} AS kept SET
    hits = kept.hits - 1,
    resets_at = CASE WHEN kept.id = ANY(%(cleared)s::uuid[]) THEN %(now)s ELSE kept.resets_at END
FROM given WHERE kept.id = given.id AND kept.hits > 0
    AND (kept.resets_at = given.resets_at OR kept.id = ANY(%(cleared)s::uuid[]))
"""


class ThrottleBucketManager(PrimaryManager["ThrottleBucket"]):
    """Counting."""

    def take(self, buckets: Sequence[Bucket]) -> list[Taken] | None:
        """Count one hit in each bucket, or in none; None where any of them is full."""
        if not buckets:
            return []
        now = timezone.now()
        by_id = {bucket.id: bucket for bucket in buckets}
        values: dict[str, Any] = {
            "ids": array(by_id),
            "rules": [bucket.rule for bucket in by_id.values()],
            "allowed": array(bucket.allowed for bucket in by_id.values()),
            "resets": array(now + bucket.window for bucket in by_id.values()),
            "now": now,
            "alone": connections[accounts_database()].get_autocommit(),
        }
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute(_TAKE.format(table=self._table()), values)
            taken = [Taken(by_id[key], resets_at) for key, resets_at in cursor.fetchall()]
        if len(taken) == len(by_id):
            return taken
        self.give_back(taken)  # others filled one of them between the look and the count
        return None

    def full(self, buckets: Sequence[Bucket]) -> list["ThrottleBucket"]:
        """Return the rows of those buckets that are full."""
        rows = self.filter(pk__in=[bucket.id for bucket in buckets], resets_at__gt=timezone.now())
        return list(rows.filter(hits__gte=models.F("allowed")))

    def give_back(self, taken: Sequence[Taken], *, clearing: Sequence[Bucket] = ()) -> None:
        """Take back hits that turned out to be none.

        Args:
            taken: the hits; one whose window is over stays with it.
            clearing: buckets among them that lose all their hits: their window ends, so that a hit of it that comes
                back later takes nothing from the next.
        """
        if not taken:
            return
        values: dict[str, Any] = {
            "ids": array(hit.bucket.id for hit in taken),
            "resets": array(hit.resets_at for hit in taken),
            "cleared": array(bucket.id for bucket in clearing),
            "now": timezone.now(),
            "alone": connections[accounts_database()].get_autocommit(),
        }
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute(_GIVE_BACK.format(table=self._table()), values)

    def clear(self, buckets: Sequence[Bucket]) -> None:
        """Forget all hits of the buckets, by ending their windows."""
        for key in sorted(bucket.id for bucket in buckets):
            self.filter(pk=key).update(resets_at=timezone.now())

    def announce(self, bucket: "ThrottleBucket") -> bool:
        """Tell whether this full bucket has not been announced in its window yet; of many callers, one gets True."""
        return self.filter(pk=bucket.pk, resets_at=bucket.resets_at, announced=False).update(announced=True) == 1

    def _table(self) -> str:
        return connections[accounts_database()].ops.quote_name(self.model._meta.db_table)


class ThrottleBucket(models.Model):
    """How often something happened in the current window of one bucket.

    Attributes:
        id: 128 bits of a keyed digest of what is counted and for whom.
        rule: what is counted, for people: a key of `THROTTLES`.
        hits: how often in this window.
        allowed: how often it may; a full bucket counts no further.
        resets_at: when the window ends; from then on the row counts for nothing and may be pruned.
        announced: whether it has been told that the bucket is full.
    """

    id = models.UUIDField(primary_key=True)
    rule = models.CharField(max_length=40)
    hits = models.PositiveIntegerField()
    allowed = models.PositiveIntegerField()
    resets_at = models.DateTimeField()
    announced = models.BooleanField(default=False)

    objects = ThrottleBucketManager()

    class Meta:
        verbose_name = _("rate limit bucket")
        verbose_name_plural = _("rate limit buckets")
        indexes = [models.Index(fields=["resets_at"], name="authkit_throttle_by_reset")]

    def __str__(self) -> str:
        return f"{self.rule} {self.pk}"
