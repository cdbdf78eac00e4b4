"""The checks of projects with one schema per tenant (django-tenants and its relatives)."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, register
from django.db import connections

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.settings import are_valid
from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.setting_rules import LINK_PAGES
from ninja_auth_kit.tenancy import apps_of_schemas, has_schemas, has_tables_per_tenant, kinds_of_schemas_with

_LABEL = "ninja_auth_kit"


@register(Tags.compatibility)
def check_layout(**_: Any) -> list[CheckMessage]:
    """E018: each schema must have the tables of the kit and the users, or neither."""
    if not has_schemas(connections[accounts_database()]):
        return []
    users = get_user_model()._meta
    tables, owners = kinds_of_schemas_with(_LABEL), kinds_of_schemas_with(users.app_label)
    if tables and tables == owners:
        return []
    hint = (
        f"Put 'ninja_auth_kit' and the app of {users.label} into the same lists: both into TENANT_APPS if each tenant "
        "has users of its own, or both into SHARED_APPS if all tenants share the users. The sessions and addresses of "
        "a user have foreign keys to the user."
    )
    message = (
        f"The tables of the kit are in the schemas of {_spoken(tables)}, and those of {users.label} in the schemas of "
        f"{_spoken(owners)}."
    )
    return [error("E018", message, hint)]


def _spoken(kinds: set[str]) -> str:
    return " and ".join(kind for kind in apps_of_schemas() if kind in kinds) or "no list of apps"


@register(Tags.urls)
def check_links(**_: Any) -> list[CheckMessage]:
    """W030: a link in an email must open a page of the tenant that has the token."""
    is_asked = are_valid() and has_tables_per_tenant(connections[accounts_database()])
    if not is_asked or settings.TENANT_SETTINGS is not None or set(settings.FRONTEND_URLS) == set(LINK_PAGES):
        return []
    hint = (
        "Set NINJA_AUTH_KIT['TENANT_SETTINGS'] to a function that returns the BASE_URL of a tenant, so that links "
        "in its emails open its pages. A token is valid only for the tenant that has issued it. If all tenants are "
        "reached by the host of BASE_URL, silence this warning."
    )
    return [warning("W030", "The links in the emails of all tenants have the same BASE_URL.", hint)]
