"""Users who were made elsewhere: a page that lists them, and an action that verifies their email addresses."""

from collections import defaultdict
from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column
from ninja_auth_kit.admin.read_only import ROWS, ReadOnlyAdmin, add_to_history, matching_users, show_skipped
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import email_field, users_with_any
from ninja_auth_kit.services.admin_actions import Outcome, by_admin
from ninja_auth_kit.services.vouching import BATCH, Vouch, vouch_for_users


class VerifyUsersMixin:
    """An action for the admin of your project's users that marks their email addresses as verified.

    Put it before the other base classes:

        class UserAdmin(VerifyUsersMixin, django.contrib.auth.admin.UserAdmin): ...

    The action requires the permission to change email addresses of the kit, not only to change users.
    """

    actions: Any
    message_user: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.actions is not None:  # None turns all actions off
            self.actions = [*self.actions, "mark_email_verified"]

    def has_verify_email_permission(self, request: HttpRequest) -> bool:
        """Return whether the user has the permission that the same action of the kit's own pages requires."""
        return bool(request.user.has_perm("ninja_auth_kit.change_emailaddress"))

    @admin.action(permissions=["verify_email"], description=_("Mark the email address as verified"))
    def mark_email_verified(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Mark the address of each user as verified, and show which were skipped and why."""
        vouch = Vouch(actor=by_admin(request.user), client=ClientInfo.of(request))
        keys = list(queryset.values_list("pk", flat=True)[:ROWS])
        outcomes: dict[Outcome, list[Any]] = defaultdict(list)
        for start in range(0, len(keys), BATCH):
            for one in vouch_for_users(keys[start : start + BATCH], vouch):
                outcomes[one.outcome].append(one)
        done = {one.key for one in outcomes.pop(Outcome.DONE, [])}
        users = get_user_model()._base_manager.using(accounts_database()).filter(pk__in=done)
        add_to_history(request, list(users), gettext("Marked the email address as verified."))
        names = {outcome: [one.email or str(one.key) for one in skipped] for outcome, skipped in outcomes.items()}
        show_skipped(self, request, names)
        text = ngettext(
            "%(count)d email address was marked as verified.",
            "%(count)d email addresses were marked as verified.",
            len(done),
        )
        self.message_user(request, text % {"count": len(done)})


class UsersWithoutAddressAdmin(VerifyUsersMixin, ReadOnlyAdmin):
    """The users whose email address the kit has never seen, the newest first.

    No index can find what is not there, so PostgreSQL may read the whole table of the users.
    """

    actions = ()
    deferred = ("password",)
    ordering = ("-pk",)
    list_display_links = None  # your project's admin of the users may not exist
    search_fields = ("pk",)
    search_help_text = _("Enter a complete email address, or the primary key of a user.")
    change_list_template = "ninja_auth_kit/admin/users_without_address.html"

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the email address, and the username if there is one."""
        names = dict.fromkeys([email_field(), get_user_model().USERNAME_FIELD])
        fields: list[Any] = [get_user_model()._meta.get_field(name) for name in names]
        return [text_column(field.name, field.verbose_name) for field in fields]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may view the email addresses of the kit."""
        return bool(request.user.has_perm("ninja_auth_kit.view_emailaddress"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the users without a row."""
        return super().get_queryset(request).filter(authkit_email=None)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by columns that have an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        keys = matching_users(term)
        with suppress(InvalidEmailError):
            keys += [user.pk for users in users_with_any([canonical_email(term)]).values() for user in users]
        return queryset.filter(pk__in=keys), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the page, which says what it lists."""
        context = {"subtitle": _("Users without a verified email address, made outside the kit")}
        return super().changelist_view(request, {**context, **(extra_context or {})})
