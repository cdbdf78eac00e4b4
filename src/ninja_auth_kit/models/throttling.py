"""Counters for the rate limits.

PostgreSQL counts each hit in one statement, so they are exact under concurrency.
"""

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
    """One rate limit for one subject: the number of hits allowed in a window.

    It may have no row in the database yet.
    """

    id: uuid.UUID
    rule: str
    allowed: int
    window: timedelta


class Hit(NamedTuple):
    """A hit that was counted in a bucket, and the end of the window it was counted in."""

    bucket: Bucket
    resets_at: datetime


# Count one hit in each bucket, and return a row for each hit. If a bucket is full, count none. It
# is one statement, so that hits that arrive at the same time are counted one after the other.
TAKE = """
WITH bucket AS (
    -- The buckets to count in, with the end of the window that a hit opens if no window is running.
    SELECT id, rule, allowed, resets_at
    FROM unnest(%(ids)s::uuid[], %(rules)s::text[], %(allowed)s::int[], %(new_ends)s::timestamptz[])
        AS parameters (id, rule, allowed, resets_at),
        -- Do not wait for the disk: a counter that loses its last moment in a crash does no harm.
        -- In a transaction with other changes, wait as usual.
        (SELECT CASE WHEN %(autocommit)s THEN set_config('synchronous_commit', 'off', TRUE) END) AS asynchronous
), full_bucket AS (
    -- If this finds a row, nothing is written below: a rejected attempt changes no counter.
    SELECT FROM bucket JOIN {table} AS stored USING (id)
    WHERE stored.resets_at > %(now)s AND stored.hits >= bucket.allowed
)
INSERT INTO {table} AS stored (id, rule, hits, allowed, resets_at, announced)
SELECT id, rule, 1, allowed, resets_at, FALSE FROM bucket WHERE NOT EXISTS (SELECT FROM full_bucket)
-- Rows are locked in the order of their ids, so that two attempts cannot deadlock.
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
    -- In a running window, add a hit. After its end, begin a new window with this hit.
    hits = CASE WHEN stored.resets_at > %(now)s THEN stored.hits + 1 ELSE 1 END,
    announced = stored.announced AND stored.resets_at > %(now)s,
    resets_at = CASE WHEN stored.resets_at > %(now)s THEN stored.resets_at ELSE EXCLUDED.resets_at END
-- Checked again under the lock of the row: others may have filled this bucket in the meantime. Then
-- fewer rows are returned than there are buckets, and the caller gives the other hits back.
WHERE stored.resets_at <= %(now)s OR stored.hits < EXCLUDED.allowed
RETURNING id, resets_at
"""

# Take hits back, one in each bucket, and end the window of the buckets that are cleared.
GIVE_BACK = """
WITH given_back AS (
    -- Lock the rows in the order of their ids, as above.
    SELECT id, hit.resets_at FROM {table} JOIN unnest(%(ids)s::uuid[], %(ends)s::timestamptz[])
        AS hit (id, resets_at) USING (id),
        -- Do not wait for the disk, as above.
        (SELECT CASE WHEN %(autocommit)s THEN set_config('synchronous_commit', 'off', TRUE) END) AS asynchronous
    ORDER BY id FOR UPDATE OF {table}
)
UPDATE {table} AS stored SET
    hits = stored.hits - 1,
    -- A window that is cleared ends now. A hit of it that is given back later changes nothing in
    -- the next window.
    resets_at = CASE WHEN stored.id = ANY(%(cleared)s::uuid[]) THEN %(now)s ELSE stored.resets_at END
FROM given_back WHERE stored.id = given_back.id AND stored.hits > 0
    -- Only in the window that the hit was counted in. Clearing works in any window.
    AND (stored.resets_at = given_back.resets_at OR stored.id = ANY(%(cleared)s::uuid[]))
"""


class ThrottleBucketManager(PrimaryManager["ThrottleBucket"]):
    """Count hits."""

    def take(self, buckets: Sequence[Bucket]) -> list[Hit] | None:
        """Count one hit in each bucket and return the hits, or return None if any bucket is full.

        In that case no hit is counted.
        """
        if not buckets:
            return []
        now = timezone.now()
        by_id = {bucket.id: bucket for bucket in buckets}
        connection = connections[accounts_database()]
        values: dict[str, Any] = {
            "ids": array(by_id),
            "rules": [bucket.rule for bucket in by_id.values()],
            "allowed": array(bucket.allowed for bucket in by_id.values()),
            "new_ends": array(now + bucket.window for bucket in by_id.values()),
            "now": now,
            "autocommit": connection.get_autocommit(),
        }
        with connection.cursor() as cursor:
            cursor.execute(TAKE.format(table=self._table()), values)
            hits = [Hit(by_id[key], resets_at) for key, resets_at in cursor.fetchall()]
        if len(hits) == len(by_id):
            return hits
        self.give_back(hits)  # others have filled a bucket, see TAKE
        return None

    def full(self, buckets: Sequence[Bucket]) -> list["ThrottleBucket"]:
        """Return the rows of the buckets that are full."""
        rows = self.filter(pk__in=[bucket.id for bucket in buckets], resets_at__gt=timezone.now())
        return list(rows.filter(hits__gte=models.F("allowed")))

    def give_back(self, hits: Sequence[Hit], *, clearing: Sequence[Bucket] = ()) -> None:
        """Take hits back that turned out not to count.

        Args:
            hits: the hits. A hit whose window is over is not taken back.
            clearing: buckets of these hits that lose all their hits. Their window ends, so that a
                hit of it that is given back later is not taken from the next window.
        """
        if not hits:
            return
        connection = connections[accounts_database()]
        values: dict[str, Any] = {
            "ids": array(hit.bucket.id for hit in hits),
            "ends": array(hit.resets_at for hit in hits),
            "cleared": array(bucket.id for bucket in clearing),
            "now": timezone.now(),
            "autocommit": connection.get_autocommit(),
        }
        with connection.cursor() as cursor:
            cursor.execute(GIVE_BACK.format(table=self._table()), values)

    def clear(self, buckets: Sequence[Bucket]) -> None:
        """Forget all hits of the buckets by ending their windows."""
        for key in sorted(bucket.id for bucket in buckets):
            self.filter(pk=key).update(resets_at=timezone.now())

    def mark_announced(self, bucket: "ThrottleBucket") -> bool:
        """Mark a full bucket as announced, and return whether this is the first time in its window.

        If several callers ask at the same time, exactly one of them gets True.
        """
        return self.filter(pk=bucket.pk, resets_at=bucket.resets_at, announced=False).update(announced=True) == 1

    def _table(self) -> str:
        return connections[accounts_database()].ops.quote_name(self.model._meta.db_table)


class ThrottleBucket(models.Model):
    """The hits in the current window of one rate limit for one subject.

    Attributes:
        id: 128 bits of a keyed digest of the rule and the subject.
        rule: the key of `THROTTLES`.
        hits: the number of hits in this window.
        allowed: the number of hits that are allowed; a full bucket is not counted further.
        resets_at: when the window ends. After that the row has no effect and may be pruned.
        announced: whether `request_throttled` was sent in this window.
    """

    id = models.UUIDField(primary_key=True)
    rule = models.CharField(max_length=40)
    hits = models.PositiveIntegerField()
    allowed = models.PositiveIntegerField()
    resets_at = models.DateTimeField()
    announced = models.BooleanField(default=False)

    objects = ThrottleBucketManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("rate limit bucket")
        verbose_name_plural = _("rate limit buckets")
        indexes = [models.Index(fields=["resets_at"], name="authkit_throttle_by_reset")]

    def __str__(self) -> str:
        return f"{self.rule} {self.pk}"
