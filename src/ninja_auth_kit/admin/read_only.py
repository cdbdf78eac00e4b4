"""What the pages of the kit have in common: they are read-only, and their queries read a limited number of rows."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email

# The number of rows that a list shows and that an action takes. A search finds the others.
ROWS = 1000
NAMED = 10  # how many skipped rows one message names


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # cannot be subscripted before Django 6
    """Pages of the first `ROWS` rows. Counting all rows would make PostgreSQL scan the table."""

    @cached_property
    def count(self) -> int:
        """The number of rows in all pages."""
        return min(self._found, ROWS)

    @property
    def is_truncated(self) -> bool:
        """Whether there are more rows than the pages show."""
        return self._found > ROWS

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list[: ROWS + 1]
        return int(rows.count())


class BoundedChangeList(ChangeList):
    """A list that says if it is truncated, and whose order is always that of an index."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.paginator.is_truncated:
            self.title = _("Only the first %(count)d rows are shown") % {"count": ROWS}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the order of the page. An order from the query string would sort the whole table."""
        return list(self.model_admin.ordering or ())


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """Read-only pages for a model of the kit. A subclass names the fields.

    Attributes:
        deferred: columns that a list does not read: digests and long values.
    """

    deferred: tuple[str, ...] = ()

    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # facets count rows
    sortable_by = ()
    paginator = BoundedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the change list with a limited number of rows."""
        return BoundedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, from the database that the kit writes to."""
        rows = super().get_queryset(request).using(accounts_database()).defer(*self.deferred)
        joined = self.list_select_related
        # The page of one row shows the user, too. Read later, the user would come from where the router sends reads.
        return rows if isinstance(joined, bool) else rows.select_related(*joined)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all fields that are shown."""
        return self.fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Disallow adding rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Disallow changing rows: saving one could reactivate a session that has ended since it was read."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Disallow deleting rows."""
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether the user has the permission to change the model, which the actions require."""
        codename = get_permission_codename("change", self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return only the actions of this page. An action of the whole site, such as an export, reads all columns.

        Django 5.2 and 6.0 have no `action_location`.
        """
        location = {} if action_location is None else {"action_location": action_location}
        actions = super().get_actions(request, **location)
        return {name: action for name, action in actions.items() if name in (self.actions or ())}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only the filters of the page: `?refresh_token__startswith=` would reveal a digest."""
        return lookup in {getattr(one, "parameter_name", None) for one in self.list_filter}

    def note(self, request: HttpRequest, rows: list[Model], message: str) -> None:
        """Add an entry about an action to the history of the rows."""
        add_to_history(request, rows, message)


def add_to_history(request: HttpRequest, rows: list[Any], message: str) -> None:
    """Add an entry about an action of an administrator to the history of each row."""
    from django.contrib.admin.models import CHANGE, LogEntry  # a model of another app, which must be loaded

    if rows:
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)  # type: ignore[arg-type]


def show_skipped(page: Any, request: HttpRequest, skipped: Mapping[Any, list[str]]) -> None:
    """Show a message for each outcome of an action, with the names of some rows that it skipped."""
    for outcome, names in skipped.items():
        listed = ", ".join(names[:NAMED]) + (", …" if names[NAMED:] else "")
        # Translators: the reason is one of the texts next to "the email address is already verified".
        text = _("%(count)d skipped (%(names)s): %(reason)s.")
        values = {"count": len(names), "names": listed, "reason": outcome.label}
        page.message_user(request, text % values, messages.WARNING)


def matching_users(term: str) -> list[Any]:
    """Return the primary keys of the users that a search term can mean.

    The term is an email address, in any case, or a primary key.
    """
    keys: list[Any] = []
    with suppress(InvalidEmailError):
        addresses = EmailAddress.objects.filter(canonical=canonical_email(term))
        keys += addresses.values_list("user_id", flat=True)
    with suppress(ValidationError):
        keys.append(get_user_model()._meta.pk.clean(term, None))
    return keys
