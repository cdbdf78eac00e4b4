"""Passkeys in Django's admin: read-only. They are removed on the page of the second factors."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.admin.columns import text_column, time_column
from ninja_auth_kit.contrib.factors.admin import RowsOfUsersAdmin
from ninja_auth_kit.contrib.passkeys.models import Passkey


@admin.register(Passkey)
class PasskeyAdmin(RowsOfUsersAdmin):
    """The passkeys of all users. Ids, keys and seals are not shown."""

    deferred = ("credential_id", "public_key", "seal", "factor__user__password")
    owner = "factor__user"

    list_display = (
        text_column("factor.user", _("user")),
        text_column("factor.name", _("name"), limit=40),
        "backup_eligible",
        "backed_up",
        time_column("factor.created_at", _("created at")),
        time_column("factor.last_used_at", _("last used at")),
    )
    list_select_related = ("factor__user",)
    raw_id_fields = ("factor",)
    ordering = ("factor_id",)
    fields = (
        "factor",
        "backup_eligible",
        "backed_up",
        "discoverable",
        "verifies_user",
        "transports",
        "aaguid",
        "sign_count",
    )
