"""The system checks: every mistake in the settings that the kit can detect, with an id and a hint.

settings.py

    E001  NINJA_AUTH_KIT is not a dict
    E002  unknown key
    E003  invalid value
    E004  lifetimes that contradict each other
    E007  BASE_URL is missing and DEBUG is off
    E011  a dotted path cannot be imported or names the wrong kind of object
    E012  a custom schema has a field that it must not have
    W003  access tokens last longer than a service that verifies them should trust
    W004  the URLs of the kit are not in the URLconf

keys.py

    W007  another package reads the plain setting JWT_SECRET_KEY, too
    W008  another package signs with the same secret

users_and_database.py

    E005  the database is not PostgreSQL
    E006  the user model has no email field or no password
    E009  USERNAME_FIELD is the primary key of the user model
    E010  the isolation level of the database is not READ COMMITTED
    W002  registration cannot fill a required field of the user model

broker.py

    E008  a RABBITMQ_ setting is invalid
    W001  no broker: audit events are only logged (--deploy)
    W012  the broker is on another machine, without TLS (--deploy)
    W013  the broker is on another machine, and the user is guest (--deploy)
    W014  web processes publish the audit events themselves (--deploy)

deploy.py

    W010  BASE_URL is not a public https address (--deploy)
    W011  an address in FRONTEND_URLS is not a public https address (--deploy)
    W015  AUTH_PASSWORD_VALIDATORS is empty (--deploy)
    W016  new passwords get a hash that is fast to guess (--deploy)
    W017  ATOMIC_REQUESTS is on (--deploy)
    W018  Django trusts a proxy, and the kit does not (--deploy)
    W019  emails do not leave this machine (--deploy)
    W020  users need not verify their email address (--deploy)
    W021  a click on a link verifies an address without the password (--deploy)
    W022  a session lasts longer than 30 days (--deploy)
    W023  times are local, with daylight saving time (--deploy)
    W024  rate limits are off (--deploy)
    W025  a password reset gives users of a directory a password of their own (--deploy)

The checks marked (--deploy) run with `manage.py check --deploy`: what they report is fine on a laptop and unsafe on a
server. They are warnings, so that a project with a reason, such as a private network, can list them in
SILENCED_SYSTEM_CHECKS.

If the kit is mounted, E011 and E012 of a schema are also the error that importing the URLconf raises, with the id and
the hint in its text: the API is not built with such a schema, so no check is printed.

A weak JWT_SECRET_KEY or SIGNING_KEYS is not a check: it stops the process before any check runs (`tokens.key_checks`).
"""

from ninja_auth_kit.checks import broker, deploy, keys, settings, users_and_database

__all__ = ["broker", "deploy", "keys", "settings", "users_and_database"]
