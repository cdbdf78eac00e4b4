"""Second factors and remembered devices in Django's admin: read-only, with an action that removes all of a user."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column
from ninja_auth_kit.admin.read_only import ROWS, ReadOnlyAdmin, add_to_history, matching_users
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.enrolment import reset_factors
from ninja_auth_kit.contrib.factors.models import Factor, RememberedDevice
from ninja_auth_kit.services.admin_actions import by_admin


class RowsOfUsersAdmin(ReadOnlyAdmin):
    """A list that is searched by user.

    Attributes:
        owner: the path to the user.
    """

    owner = "user"

    list_select_related = ("user",)
    search_fields = ("id", "user")
    search_help_text = _(
        "Enter the complete ID of a row, the complete email address of a user, or the primary key of a user."
    )
    raw_id_fields = ("user",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by columns that have an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = Q(**{f"{self.owner}__in": matching_users(term)})
        with suppress(ValueError):
            condition |= Q(pk=UUID(term))
        return queryset.filter(condition), False


@admin.register(Factor)
class FactorAdmin(RowsOfUsersAdmin):
    """The second factors of all users. Their secrets are in tables that have no page."""

    deferred = ("user__password",)

    list_display = (
        text_column("user", _("user")),
        "kind",
        text_column("name", _("name"), limit=40),
        time_column("confirmed_at", _("confirmed at")),
        time_column("last_used_at", _("last used at")),
    )
    ordering = ("user_id", "pk")
    fields = ("id", "user", "kind", "name", "created_at", "confirmed_at", "last_used_at", "expires_at")
    actions = ("remove_all",)

    @admin.action(permissions=["act"], description=_("Remove all second factors of the users"))
    def remove_all(self, request: HttpRequest, queryset: QuerySet[Factor]) -> None:
        """Remove all second factors of the users of the selected rows, and show of how many users."""
        owners = {factor.user_id: factor.user for factor in queryset[:ROWS]}
        client, actor = ClientInfo.of(request), by_admin(request.user)
        done = [user for key, user in owners.items() if reset_factors(user_id=key, client=client, **actor)]
        # In the history of the users, because the rows of the factors do not exist any more.
        add_to_history(request, done, gettext("Removed all second factors."))
        text = ngettext(
            "All second factors of %(count)d user were removed.",
            "All second factors of %(count)d users were removed.",
            len(done),
        )
        self.message_user(request, text % {"count": len(done)})


@admin.register(RememberedDevice)
class RememberedDeviceAdmin(RowsOfUsersAdmin):
    """The devices on which users are not asked for the second factor. The digests are not shown."""

    deferred = ("digest", "auth_hash", "user__password")

    list_display = (
        text_column("user", _("user")),
        time_column("created_at", _("created at")),
        time_column("last_used_at", _("last used at")),
        time_column("expires_at", _("expires at")),
        text_column("user_agent", _("user agent"), limit=60),
    )
    ordering = ("-expires_at", "-pk")
    fields = ("id", "user", "created_at", "last_used_at", "expires_at", "ip_address", "user_agent")
