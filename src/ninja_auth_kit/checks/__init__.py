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
    W027  BASE_URL and FORCE_SCRIPT_NAME have different paths

keys.py

    W007  another package reads the plain setting JWT_SECRET_KEY, too
    W008  another package signs with the same secret

users_and_database.py

    E005  the database is not PostgreSQL
    E006  the user model has no email field or no password
    E009  USERNAME_FIELD is the primary key of the user model
    E010  the isolation level of the database is not READ COMMITTED
    E013  registration cannot fill a required field of the user model
    W005  registration does not fill a field that REQUIRED_FIELDS names

database_routers.py

    E016  the database routers separate the tables from the users
    E017  `migrate` would make the tables in a database that is not PostgreSQL
    W026  users may be read from a replica (--deploy)

tenants.py

    E018  the tables and the users are in different schemas of a project with one schema per tenant
    W030  the links in the emails of all tenants have the same BASE_URL

broker.py

    E008  a RABBITMQ_ setting is invalid
    E015  a file of the RABBITMQ_TLS_ settings cannot be used
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
    W025  users of a directory can set a password of their own (--deploy)
    W028  the SMTP email backend has no timeout, or a long one (--deploy)
    W029  the first password hasher takes at most 72 bytes (--deploy)
    W034  each ASGI request opens a connection to the database (--deploy)

contrib/*/checks.py, in projects that install the app

    E019  an app that requires contrib.factors is installed without it
    E020  the packages of an extra are not installed
    E021  passkeys cannot be bound to this domain, or not be used on this origin
    E022  a page that uses passkeys has no TLS
    E023  a code cannot register, because a field of the users is filled by REGISTRATION_SCHEMA only
    E024  a provider lacks what it needs, or is not https
    E025  a redirect URI of providers is not https
    E026  a scope of API keys is not a scope token
    E027  API keys are valid for longer by default than they can be
    E028  a provider cannot register, because a field of the users is filled by REGISTRATION_SCHEMA only
    E029  providers share a redirect URI, and one of them is no preset
    W031  CORS lets a page of any origin send requests with cookies
    W032  contrib.factors is installed without a kind of second factor
    W033  a provider of the project's own is trusted for email addresses
    W035  links_verified_email has no effect for a provider

The checks marked (--deploy) run with `manage.py check --deploy`: what they report is fine on a laptop and unsafe on a
server. They are warnings, so that a project with a reason, such as a private network, can list them in
SILENCED_SYSTEM_CHECKS.

If the kit is mounted, E011 and E012 of a schema are also the error that importing the URLconf raises, with the id and
the hint in its text: the API is not built with such a schema, so no check is printed.

A weak JWT_SECRET_KEY or SIGNING_KEYS is not a check: it stops the process before any check runs (`tokens.key_checks`).
"""

from ninja_auth_kit.checks import broker, database_routers, deploy, keys, settings, tenants, users_and_database

__all__ = ["broker", "database_routers", "deploy", "keys", "settings", "tenants", "users_and_database"]
