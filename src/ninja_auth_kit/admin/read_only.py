"""What the kit's pages have in common: nothing can be edited, and every query is bounded."""

from contextlib import suppress
from functools import cached_property
from typing import Any

from django.contrib import admin
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

ROWS = 1000  # how deep a list goes, and how many rows one action takes; what lies deeper is found by a search


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # cannot be subscripted before Django 6
    """Pages over the first `ROWS` rows. It never counts a table, which takes PostgreSQL a scan of it."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to page through."""
        return min(self._found, ROWS)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than that."""
        return self._found > ROWS

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list[: ROWS + 1]
        return int(rows.count())


class BoundedChangeList(ChangeList):
    """A list that says when it is cut, and is always in the order that an index has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.paginator.is_cut:
            self.title = _("Only the first %(count)d rows are shown") % {"count": ROWS}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the order of the page; not what the query string asks for, which would sort the table."""
        return list(self.model_admin.ordering or ())


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """Pages that show rows of a model of the kit. Derive from it, and say which fields.

    Attributes:
        unread: columns that are not even read for a list: digests, and what is long.
    """

    unread: tuple[str, ...] = ()

    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count
    sortable_by = ()
    paginator = BoundedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that is bounded."""
        return BoundedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, from where the kit writes them."""
        return super().get_queryset(request).using(accounts_database()).defer(*self.unread)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return every field that is shown."""
        return self.fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: saving a row as it was read could bring back a session that has ended since."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Tell whether somebody may run the actions: who has the permission to change the model."""
        codename = get_permission_codename("change", self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions of this page alone: one of the whole site, such as an export, would read every column.

        Django 5.2 and 6.0 have no `action_location`.
        """
        where = {} if action_location is None else {"action_location": action_location}
        found = super().get_actions(request, **where)
        return {name: action for name, action in found.items() if name in (self.actions or ())}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters that are on the page; `?refresh_token__startswith=` would spell out a digest."""
        return lookup in {getattr(one, "parameter_name", None) for one in self.list_filter}

    def note(self, request: HttpRequest, rows: list[Model], message: str) -> None:
        """Write into the history of these rows what an administrator has done."""
        from django.contrib.admin.models import CHANGE, LogEntry  # needs the app, this module does not

        if rows:
            LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)  # type: ignore[arg-type]


def matching_users(term: str) -> list[Any]:
    """Return the keys of the users whom a search can mean, by the address, whatever its case, or by the key itself."""
    keys: list[Any] = []
    with suppress(InvalidEmailError):
        holders = EmailAddress.objects.filter(canonical=canonical_email(term))
        keys += holders.values_list("user_id", flat=True)
    with suppress(ValidationError):
        keys.append(get_user_model()._meta.pk.clean(term, None))
    return keys
