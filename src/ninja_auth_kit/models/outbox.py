"""Audit events that wait to be published to RabbitMQ, and the relays that publish them."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.models.managers import PrimaryManager


class AuditOutbox(models.Model):
    """An event that waits for the relay to publish it.

    Rows are inserted and deleted, never updated. The primary key is the only index, because every
    login has to update each index. `payload` is text, not JSON: the relay sends it unchanged, and
    PostgreSQL's jsonb rejects U+0000, so a malicious `User-Agent` could make a login fail.

    Attributes:
        event_id: the id of the CloudEvent.
        shard: which of the 16 parts of the outbox the event is in. The events of a user share one,
            which keeps their order.
        routing_key: the routing key of the message.
        payload: the body of the message, serialized once.
    """

    event_id = models.UUIDField(_("event ID"))
    # Translators: which of the 16 parts of the audit stream the event is in; a number.
    shard = models.SmallIntegerField(_("shard"))
    routing_key = models.CharField(_("routing key"), max_length=255)
    payload = models.TextField(_("payload"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    objects = PrimaryManager["AuditOutbox"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("audit event in the outbox")
        verbose_name_plural = _("audit events in the outbox")

    def __str__(self) -> str:
        return f"{self.routing_key} {self.event_id}"


class AuditDeferred(models.Model):
    """An event that the broker rejected and that waits for another attempt or for an operator.

    It is in a table of its own, so that it does not slow down the outbox.

    Attributes:
        id: the id of the row in the outbox, which keeps the order.
        state: "retry" (published again at `next_attempt_at`) or "parked" (waits for an operator).
        reason: why it was rejected: unroutable, nacked, poison or too_large.
    """

    class State(models.TextChoices):
        """What the event waits for."""

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

    objects = PrimaryManager["AuditDeferred"]()

    class Meta:
        base_manager_name = "objects"
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
    """The count of events of one kind from one network in one window.

    The first events are recorded singly, the others are only counted. After the window, the relay
    publishes one event for those that were counted.

    Attributes:
        id: a keyed digest of what the events have in common.
        lane: the partition key that the counted events share, or "*".
        payload: the body of the last of them.
        seen: the number of all events, including those that were recorded singly.
        started_at: when the first of all events was recorded.
        first_at: when the first event was counted without being recorded singly.
        last_at: when the last event was recorded or counted.
    """

    id = models.UUIDField(primary_key=True)
    lane = models.TextField()
    routing_key = models.CharField(max_length=255)
    payload = models.TextField()
    seen = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = PrimaryManager["AuditFlood"]()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.routing_key} {self.seen}"


class AuditRelay(models.Model):
    """A relay that runs, with its heartbeat.

    It is a row and not a property of the database session, because behind a pooler one session
    serves many clients. Rows are written by `audit.relay.heartbeat` only.

    Attributes:
        id: random, chosen by the relay.
        host: the name of the machine.
        process_id: the process id on that machine.
        is_embedded: whether the relay is a thread of a web process.
        state: what it does: publishing, waiting (for the broker) or blocked (by the broker).
        failure: the last failure of the broker or the database, without credentials.
        failed_at: when that was.
        seen_at: the time of the last heartbeat.
    """

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=255)
    process_id = models.PositiveIntegerField()
    is_embedded = models.BooleanField()
    state = models.CharField(max_length=16)
    failure = models.TextField()
    failed_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    objects = PrimaryManager["AuditRelay"]()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.host} {self.process_id}"
