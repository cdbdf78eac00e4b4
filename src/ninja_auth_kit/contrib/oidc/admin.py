"""Identities in Django's admin: read-only, with an action that unlinks them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column
from ninja_auth_kit.admin.read_only import ROWS, add_to_history
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.admin import RowsOfUsersAdmin
from ninja_auth_kit.contrib.oidc.identities import unlink_selected_identities
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.services.admin_actions import by_admin


@admin.register(Identity)
class IdentityAdmin(RowsOfUsersAdmin):
    """The identities of all users. The subjects and the seals are not shown."""

    deferred = ("subject", "seal", "user__password")

    list_display = (
        text_column("user", _("user")),
        "provider",
        text_column("email", pgettext_lazy("of an account", "email address"), limit=60),
        time_column("linked_at", _("linked at")),
        time_column("last_used_at", _("last used at")),
    )
    ordering = ("user_id", "pk")
    fields = ("id", "user", "provider", "issuer", "email", "linked_at", "last_used_at")
    actions = ("unlink",)

    @admin.action(permissions=["act"], description=_("Unlink selected identities"))
    def unlink(self, request: HttpRequest, queryset: QuerySet[Identity]) -> None:
        """Unlink the identities, and show how many were unlinked."""
        chosen = list(queryset[:ROWS])
        unlinked = unlink_selected_identities(rows=chosen, client=ClientInfo.of(request), **by_admin(request.user))
        # In the history of the users, because the rows of the identities do not exist any more.
        owners = {row.user_id: row.user for row in chosen if row.pk in unlinked}
        add_to_history(request, list(owners.values()), gettext("Unlinked identities."))
        text = ngettext("%(count)d identity was unlinked.", "%(count)d identities were unlinked.", len(unlinked))
        self.message_user(request, text % {"count": len(unlinked)})
