"""Email addresses, with actions that mark them as verified or send the verification link again."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.read_only import ROWS, ReadOnlyAdmin, matching_users, show_skipped
from ninja_auth_kit.admin.users import UsersWithoutAddressAdmin
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.services.admin_actions import Outcome, mark_verified_by_admin, resend_link_by_admin


class UnverifiedFilter(admin.SimpleListFilter):
    """Show only addresses that are not verified."""

    title = _("state")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the only choice besides "all"."""
        return [("1", _("Not verified"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the addresses that are not verified, or all."""
        return queryset.filter(verified_at=None) if self.value() == "1" else queryset


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    """Email addresses, the newest first, with their users and the time of the verification."""

    deferred = ("user__password",)

    list_display = ("email", "user", "verified_at")
    list_select_related = ("user",)
    list_filter = (UnverifiedFilter,)
    ordering = ("-pk",)
    search_fields = ("canonical", "user")
    search_help_text = _("Enter a complete email address, or the primary key of a user.")
    raw_id_fields = ("user",)
    fields = ("email", "canonical", "user", "verified_at")
    actions = ("mark_verified", "send_link")
    change_list_template = "ninja_auth_kit/admin/email_addresses.html"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by columns that have an index."""
        term = search_term.strip()
        return (queryset.filter(user__in=matching_users(term)) if term else queryset), False

    @admin.action(
        permissions=["act"],
        description=_(
            "Mark as verified (the person who last registered the address can then log in with the password chosen at "
            "registration)"
        ),
    )
    def mark_verified(self, request: HttpRequest, queryset: QuerySet[EmailAddress]) -> None:
        """Mark each address as verified, and show which were skipped and why."""
        done = self._apply(request, queryset, mark_verified_by_admin, note=gettext("Marked as verified."))
        text = ngettext(
            "%(count)d email address was marked as verified.",
            "%(count)d email addresses were marked as verified.",
            done,
        )
        self.message_user(request, text % {"count": done})

    @admin.action(permissions=["act"], description=_("Send a verification link"))
    def send_link(self, request: HttpRequest, queryset: QuerySet[EmailAddress]) -> None:
        """Send a link to each address that is not verified, and show which were skipped and why."""
        try:
            done = self._apply(request, queryset, resend_link_by_admin, note=gettext("Sent a verification link."))
        except ImproperlyConfigured as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        text = ngettext(
            "%(count)d verification link is being sent.", "%(count)d verification links are being sent.", done
        )
        self.message_user(request, text % {"count": done})

    def _apply(
        self, request: HttpRequest, queryset: QuerySet[EmailAddress], act: Callable[..., Outcome], *, note: str
    ) -> int:
        """Call `act` for each address, show which were skipped and why, and return the number of the others."""
        client = ClientInfo.of(request)
        outcomes: dict[Outcome, list[EmailAddress]] = defaultdict(list)
        for address in queryset[:ROWS]:
            outcomes[act(address=address, admin=request.user, client=client)].append(address)
        done = outcomes.pop(Outcome.DONE, [])
        self.note(request, [*done], note)
        names = {outcome: [address.email for address in skipped] for outcome, skipped in outcomes.items()}
        show_skipped(self, request, names)
        return len(done)

    def get_urls(self) -> list[Any]:
        """Return the URLs of the pages, and that of the users without an address."""
        users = UsersWithoutAddressAdmin(get_user_model(), self.admin_site)
        view = self.admin_site.admin_view(users.changelist_view)
        return [path("users/", view, name="ninja_auth_kit_emailaddress_users"), *super().get_urls()]
