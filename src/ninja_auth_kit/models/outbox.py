"""Audit events on their way to RabbitMQ."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class AuditOutbox(models.Model):
    """An event that waits for the relay. Hot: rows are inserted and deleted, never updated.

    The key is the only index, for every login pays for each. `payload` is text, not JSON: the relay sends it as it
    is, and PostgreSQL's jsonb refuses U+0000, which would let a hostile browser name fail a login.

    Attributes:
        event_id: the id of the CloudEvent.
        shard: which of the 16 the event is in; a user's events share one, so their order holds.
        routing_key: where the message goes.
        payload: the body of the message, serialised once.
    """

    event_id = models.UUIDField(_("event ID"))
    # Translators: which of the 16 parts of the audit stream the event is in; a number.
    shard = models.SmallIntegerField(_("shard"))
    routing_key = models.CharField(_("routing key"), max_length=255)
    payload = models.TextField(_("payload"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("audit event in the outbox")
        verbose_name_plural = _("audit events in the outbox")

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"


class AuditDeferred(models.Model):
    """An event that the broker refused and that waits for another try or for a person. Cold, and out of the way.

    Attributes:
        id: the id the row had in the outbox, which keeps the order.
        state: "retry" (tried again at `next_attempt_at`) or "parked" (waits for a person).
        reason: why it is here: unroutable, nacked, poison or too_large.
    """

    class State(models.TextChoices):
        """What happens to the event next."""

        RETRY = "retry", _("will be retried")
        PARKED = "parked", _("needs manual action")

    id = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(_("event ID"))
    # Translators: which of the 16 parts of the audit stream the event is in; a number.
    shard = models.SmallIntegerField(_("shard"))
    routing_key = models.CharField(_("routing key"), max_length=255)
    payload = models.TextField(_("payload"))
    created_at = models.DateTimeField(_("created at"))
    state = models.CharField(_("state"), max_length=8, choices=State)
    reason = models.CharField(_("reason"), max_length=32)
    last_error = models.TextField(_("last error"), blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)

    class Meta:
        verbose_name = _("deferred audit event")
        verbose_name_plural = _("deferred audit events")
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state="retry"),
                name="authkit_deferred_to_retry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"


class AuditFlood(models.Model):
    """Many events of one kind from one network, counted, until the relay makes one event of those not told singly.

    Attributes:
        id: a keyed digest of what the events have in common.
        lane: the partition key that those not told singly share, or "*".
        payload: the body of the last of them.
        seen: how many there were, those told singly included.
        started_at: when the first of all was recorded.
        first_at: when the first that was not told singly was recorded.
        last_at: when the last was recorded.
    """

    id = models.UUIDField(primary_key=True)
    lane = models.TextField()
    routing_key = models.CharField(max_length=255)
    payload = models.TextField()
    seen = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.routing_key} {self.seen}"
