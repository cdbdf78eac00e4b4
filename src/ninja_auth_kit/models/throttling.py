"""Counters against guessing and flooding."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ThrottleBucket(models.Model):
    """How often something happened in the current window of one bucket; counted by one upsert, in autocommit.

    Attributes:
        id: 128 bits of a keyed digest of what is counted and for whom.
        rule: what is counted, for people.
        hits: how often in this window.
        resets_at: when the window ends; from then on the row counts for nothing and may be pruned.
    """

    id = models.UUIDField(primary_key=True)
    rule = models.CharField(max_length=40)
    hits = models.PositiveIntegerField()
    resets_at = models.DateTimeField()

    class Meta:
        verbose_name = _("throttle bucket")
        verbose_name_plural = _("throttle buckets")
        indexes = [models.Index(fields=["resets_at"], name="authkit_throttle_by_reset")]

    def __str__(self) -> str:
        return f"{self.rule} {self.pk}"
