"""API keys in Django's admin: read-only, with an action that revokes them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column
from ninja_auth_kit.admin.read_only import ROWS, add_to_history
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.api_keys.services import revoke_selected_keys
from ninja_auth_kit.contrib.factors.admin import RowsOfUsersAdmin
from ninja_auth_kit.services.admin_actions import by_admin


@admin.register(ApiKey)
class ApiKeyAdmin(RowsOfUsersAdmin):
    """The API keys of all users, ordered by their expiry, the latest first. The digests are not shown."""

    deferred = ("digest", "user__password")

    list_display = (
        text_column("user", _("user")),
        text_column("name", _("name"), limit=40),
        "start",
        "scopes",
        time_column("created_at", _("created at")),
        time_column("expires_at", _("expires at")),
        time_column("last_used_at", _("last used at")),
    )
    ordering = ("-expires_at", "-pk")
    fields = ("id", "user", "name", "start", "scopes", "created_at", "expires_at", "last_used_at")
    actions = ("revoke",)

    # Translators: the first characters of an API key, as the short heading of a column.
    @admin.display(description=_("start"))
    def start(self, row: ApiKey) -> str:
        """Return the first characters of the key."""
        return row.start

    @admin.action(permissions=["act"], description=_("Revoke selected API keys"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke the keys, and show how many were revoked."""
        chosen = list(queryset[:ROWS])
        revoked = revoke_selected_keys(keys=chosen, client=ClientInfo.of(request), **by_admin(request.user))
        # In the history of the users, because the rows of the keys do not exist any more.
        owners = {row.user_id: row.user for row in chosen if row.pk in revoked}
        add_to_history(request, list(owners.values()), gettext("Revoked API keys."))
        text = ngettext("%(count)d API key was revoked.", "%(count)d API keys were revoked.", len(revoked))
        self.message_user(request, text % {"count": len(revoked)})
