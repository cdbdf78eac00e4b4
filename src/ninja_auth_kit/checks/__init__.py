"""Every mistake in the settings that the kit can see, as a numbered system check with a hint.

    E001  NINJA_AUTH_KIT is not a dict
    E002  unknown key
    E003  wrong type or range
    E004  lifetimes that contradict one another
    E005  the database is not PostgreSQL
    E006  the user model has no e-mail field or no password
    E007  no BASE_URL outside DEBUG
    E008  a RABBITMQ_ setting has a value that does not fit
    E009  the user model's USERNAME_FIELD is its primary key
    E010  the database does not run at READ COMMITTED
    W001  no broker: audit events are only logged (--deploy)
    W002  registration cannot fill a required field of the user model
    W003  access tokens outlive what a service that verifies them alone should trust
    W004  no URL of the kit is in the URLconf

A weak key in JWT_SECRET_KEY or SIGNING_KEYS is not here: it stops the process before any check runs
(`tokens.refuse_weak_key`).
"""

from ninja_auth_kit.checks import broker, database, kit, urls, users
from ninja_auth_kit.checks.rules import RULES

__all__ = ["RULES", "broker", "database", "kit", "urls", "users"]
