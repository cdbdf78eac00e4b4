"""The checks of the database that users, and so everything of the kit, are in. They open no connection."""

from typing import Any

from django.core.checks import CheckMessage, Tags, register
from django.db import connections
from psycopg import IsolationLevel

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.conf import accounts_database


# Not Tags.database: Django runs those checks only where databases are named, so neither in `check` nor in `runserver`.
@register(Tags.compatibility)
def check_database(**_: Any) -> list[CheckMessage]:
    """E005: row locks, partial indexes and advisory locks are what the promises rest on."""
    alias = accounts_database()
    if connections[alias].vendor == "postgresql":
        return []
    return [
        error(
            "E005",
            f"The database {alias!r} is not PostgreSQL.",
            f"Set DATABASES[{alias!r}]['ENGINE'] to 'django.db.backends.postgresql'. The kit rests on locks and "
            "constraints of PostgreSQL and has no weaker mode for other databases.",
        )
    ]


@register(Tags.compatibility)
def check_isolation(**_: Any) -> list[CheckMessage]:
    """E010: whoever waits for a lock must see what its holder has written."""
    alias = accounts_database()
    options = connections[alias].settings_dict.get("OPTIONS", {})
    if not isinstance(options, dict):
        message = f"The OPTIONS of the database {alias!r} are no dict, so its isolation level is not known."
        return [error("E010", message, f"Make DATABASES[{alias!r}]['OPTIONS'] a dict, or leave it out.")]
    level = options.get("isolation_level", IsolationLevel.READ_COMMITTED)
    if connections[alias].vendor != "postgresql" or level == IsolationLevel.READ_COMMITTED:
        return []
    return [
        error(
            "E010",
            f"The database {alias!r} does not run at the isolation level READ COMMITTED.",
            f"Leave 'isolation_level' out of DATABASES[{alias!r}]['OPTIONS']. Above READ COMMITTED a login that has "
            "waited for another of the same user does not see the session that the other began, takes its slot, and "
            "fails on the unique index: parallel logins would be server errors.",
        )
    ]


@register(Tags.security, deploy=True)
def check_atomic_requests(**_: Any) -> list[CheckMessage]:
    """W017: a transaction around the kit's own holds its locks and undoes what it has committed."""
    alias = accounts_database()
    if not connections[alias].settings_dict.get("ATOMIC_REQUESTS"):
        return []
    return [
        warning(
            "W017",
            f"ATOMIC_REQUESTS is on for the database {alias!r}.",
            f"Set DATABASES[{alias!r}]['ATOMIC_REQUESTS'] = False, and put transaction.atomic() where your own views "
            "need it; transaction.non_atomic_requests has no effect on an operation of Ninja. Locks are held until "
            "the answer is made. And where a view of yours calls the services, an exception that nobody handles "
            "undoes what must stay: a session ended for reuse lives on.",
        )
    ]
