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
    E011  a dotted path names nothing, or not what it should
    E012  a schema of the host has a field that it must not have
    W001  no broker: audit events are only logged (--deploy)
    W002  registration cannot fill a required field of the user model
    W003  access tokens outlive what a service that verifies them alone should trust
    W004  no URL of the kit is in the URLconf
    W010  BASE_URL is no https address that others can reach (--deploy)
    W011  a FRONTEND_URLS address is none (--deploy)
    W012  the broker is on another machine, and reached without TLS (--deploy)
    W013  the broker is on another machine, and the user is guest (--deploy)
    W014  web processes publish the audit events themselves (--deploy)
    W015  AUTH_PASSWORD_VALIDATORS is empty (--deploy)
    W016  new passwords get a hash that is cheap to guess (--deploy)
    W017  ATOMIC_REQUESTS is on (--deploy)
    W018  Django trusts a proxy, and the kit does not (--deploy)
    W019  mails go nowhere (--deploy)
    W020  who registers need not prove the address (--deploy)
    W021  a click on a link verifies an address without the password (--deploy)
    W022  a session lasts longer than 30 days (--deploy)
    W023  times are local, and the clocks change (--deploy)
    W024  guesses, mails or requests are not limited (--deploy)

Those with (--deploy) are of `manage.py check --deploy`: right on a laptop, and unsafe where others come in. They are
no errors, so that whoever has a reason, such as a network of one's own, can name them in SILENCED_SYSTEM_CHECKS.

E011 and E012 of a schema are also what the import of the URLconf fails with, number and hint in its text, where the
kit is mounted: no API is built with such a schema, and so no check is printed.

A weak key in JWT_SECRET_KEY or SIGNING_KEYS is not here: it stops the process before any check runs
(`tokens.refuse_weak_key`).
"""

from ninja_auth_kit.checks import broker, choices, database, kit, mails, passwords, paths, urls, users
from ninja_auth_kit.checks.rules import RULES

__all__ = ["RULES", "broker", "choices", "database", "kit", "mails", "passwords", "paths", "urls", "users"]
