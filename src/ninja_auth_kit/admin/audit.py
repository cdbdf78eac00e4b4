"""Audit events that are not published yet: those that wait for the relay, and those that the broker rejected."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column
from ninja_auth_kit.admin.read_only import ROWS, ReadOnlyAdmin
from ninja_auth_kit.audit.relay.retries import requeue
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import AuditDeferred, AuditOutbox

# The columns of both lists.
_EVENT = (
    "id",
    text_column("routing_key", _("routing key")),
    text_column("event_id", _("event ID")),
    time_column("created_at", _("created at")),
)


@admin.register(AuditOutbox)
class AuditOutboxAdmin(ReadOnlyAdmin):
    """Events that wait for the relay, the next one first. If rows stay here, the relay is not running."""

    deferred = ("payload",)

    list_display = _EVENT
    ordering = ("pk",)
    fields = ("event_id", "routing_key", "shard", "created_at", "payload")


@admin.register(AuditDeferred)
class AuditDeferredAdmin(ReadOnlyAdmin):
    """Events that the broker rejected, the oldest first."""

    deferred = ("payload",)

    list_display = (
        *_EVENT,
        "state",
        text_column("reason", _("reason")),
        "attempts",
        time_column("next_attempt_at", _("next attempt at")),
    )
    ordering = ("pk",)
    fields = (
        "event_id",
        "routing_key",
        "shard",
        "created_at",
        "state",
        "reason",
        "last_error",
        "attempts",
        "next_attempt_at",
        "payload",
    )
    actions = ("requeue_selected",)

    @admin.action(permissions=["act"], description=_("Move back to the outbox"))
    def requeue_selected(self, request: HttpRequest, queryset: QuerySet[AuditDeferred]) -> None:
        """Move the events back to the outbox, and show how many were moved."""
        chosen = list(queryset[:ROWS])
        moved = requeue([event.pk for event in chosen], using=accounts_database())
        self.note(request, [event for event in chosen if event.pk in moved], gettext("Moved back to the outbox."))
        text = ngettext(
            "%(count)d event was moved back to the outbox.",
            "%(count)d events were moved back to the outbox.",
            len(moved),
        )
        stayed = len(chosen) - len(moved)
        if stayed:
            text += " " + ngettext(
                "%(stayed)d event was not moved: it can never be sent (reason poison) or is being processed.",
                "%(stayed)d events were not moved: they can never be sent (reason poison) or are being processed.",
                stayed,
            )
        self.message_user(request, text % {"count": len(moved), "stayed": stayed})
