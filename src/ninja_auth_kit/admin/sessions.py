"""Sessions, with an action that ends them, and blacklisted refresh tokens."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column, wrapping
from ninja_auth_kit.admin.read_only import ROWS, ReadOnlyAdmin, matching_users
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import BlacklistedToken, UserSession
from ninja_auth_kit.services.admin_actions import revoke_selected_sessions


class ActiveFilter(admin.SimpleListFilter):
    """Show only sessions that have neither ended nor expired."""

    title = _("state")
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the only choice besides "all". The opposite has no index and would match most of the table."""
        # Translators: a filter for sessions.
        return [("1", _("Neither ended nor expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sessions that have neither ended nor expired, or all."""
        if self.value() != "1":
            return queryset
        now = timezone.now()
        return queryset.filter(
            is_active=True, refresh_expires_at__gt=now, expires_at__gt=now
        )  # expires_at has an index


@admin.register(UserSession)
class UserSessionAdmin(ReadOnlyAdmin):
    """Sessions, ordered by their absolute limit, the latest first."""

    deferred = ("refresh_token", "auth_hash", "user__password")

    list_display = (
        # Translators: the time of a login, as the short heading of a column.
        time_column("login_time", _("login")),
        text_column("user", _("user")),
        time_column("refreshed_at", _("refreshed at")),
        "state",
        "client",
    )
    list_select_related = ("user",)
    list_filter = (ActiveFilter,)
    ordering = ("-expires_at", "-pk")
    search_fields = ("id", "user")
    search_help_text = _(
        "Enter the complete ID of a session, the complete email address of a user, or the primary key of a user."
    )
    raw_id_fields = ("user",)
    fields = (
        "id",
        "user",
        "login_time",
        "is_active",
        "logout_time",
        "end_reason",
        "slot",
        "generation",
        "refreshed_at",
        "refresh_expires_at",
        "expires_at",
        "ip_address",
        "user_agent",
    )
    actions = ("end_selected",)

    @admin.display(description=_("state"))
    def state(self, session: UserSession) -> str:
        """Return why the session ended, or that it has not. A session that expired may still say "active"."""
        return gettext("active") if session.is_active else session.get_end_reason_display()

    # Translators: the IP address and the user agent of a session, as the short heading of a column.
    @admin.display(description=_("client"))
    def client(self, session: UserSession) -> str:
        """Return the IP address and the start of the user agent. The tooltip has the whole user agent."""
        lines = (wrapping(session.ip_address or ""), wrapping(session.user_agent, limit=60))
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines if line))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by columns that have an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = Q(user__in=matching_users(term))
        with suppress(ValueError):
            condition |= Q(pk=UUID(term))
        return queryset.filter(condition), False

    @admin.action(permissions=["act"], description=_("End selected sessions"))
    def end_selected(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        """End the sessions, and show how many were ended."""
        chosen = list(queryset[:ROWS])
        ended = revoke_selected_sessions(sessions=chosen, admin=request.user, client=ClientInfo.of(request))
        self.note(request, [session for session in chosen if session.pk in ended], gettext("Ended the session."))
        text = ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", len(ended))
        before = len(chosen) - len(ended)
        if before:
            text += " " + ngettext(
                "%(before)d session had already ended.", "%(before)d sessions had already ended.", before
            )
        self.message_user(request, text % {"count": len(ended), "before": before})


@admin.register(BlacklistedToken)
class BlacklistedTokenAdmin(ReadOnlyAdmin):
    """The times at which refresh tokens were blacklisted. The digests are not shown."""

    deferred = ("token",)

    list_display = ("id", "blacklisted_at")
    ordering = ("-blacklisted_at", "-pk")
    fields = ("blacklisted_at",)
