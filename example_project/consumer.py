"""An example of another service, which consumes the audit events: `python consumer.py`.

It does not use Django, and it has its own tables. Your own service could fill a dashboard, raise an alarm or send an
email to the owner of an account. `make demo` runs it beside the server.
"""

import os
from collections.abc import Mapping
from urllib.parse import quote

import psycopg

import ninja_auth_kit.contrib.factors.events  # noqa: F401  # so that it knows the events of the optional app
from broker import parameters
from ninja_auth_kit.audit.events import Event, LoginFailed, ReuseDetected
from ninja_auth_kit.consumer import Consumer, Postgres

TABLES = """
CREATE TABLE IF NOT EXISTS consumer_activity (happened_at timestamptz, subject text, event text, ip text);
CREATE TABLE IF NOT EXISTS consumer_suspicion (ip text PRIMARY KEY, failures integer NOT NULL);
"""


def make(environment: Mapping[str, str]) -> Consumer[psycopg.Cursor[object]]:
    """Create the tables, and return the consumer."""
    database = environment["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
    store = Postgres(database)
    store.install()
    with psycopg.connect(database) as connection:
        connection.execute(TABLES)
    queue = environment.get("CONSUMER_QUEUE", "example.auth-events")
    exchange = environment.get("AUDIT_EXCHANGE") or "auth.events"
    consumer = Consumer(broker_url(environment), queue=queue, exchange=exchange, store=store)

    @consumer.on(Event)
    def keep(event: Event, db: psycopg.Cursor[object]) -> None:
        """Save the event. The row is committed together with the record that the event was handled."""
        values = (event.time, event.subject, event.name, event.client.ip)
        db.execute("INSERT INTO consumer_activity VALUES (%s, %s, %s, %s)", values)
        print(f"consumer: {event.name} {event.subject or ''} {event.reason or ''}".rstrip(), flush=True)

    @consumer.on(LoginFailed)
    def suspect(event: LoginFailed, db: psycopg.Cursor[object]) -> None:
        """Count the failures of an address. One event may represent many failures; `count` says how many."""
        db.execute(
            "INSERT INTO consumer_suspicion AS known VALUES (%s, %s) "
            "ON CONFLICT (ip) DO UPDATE SET failures = known.failures + excluded.failures",
            (event.client.ip or "unknown", event.count),
        )

    @consumer.on(ReuseDetected)
    def alarm(event: ReuseDetected, db: psycopg.Cursor[object]) -> None:
        print(
            f"consumer: possibly a stolen token: session {event.session.id} of {event.subject} was ended", flush=True
        )

    return consumer


def broker_url(environment: Mapping[str, str]) -> str:
    """Return the URL of the broker, from the same environment variables as those of the server."""
    where = parameters(environment)
    if where is None:
        raise SystemExit("RABBITMQ_HOST is empty, so there is no broker to receive events from.")
    user, password = (quote(environment.get(name) or "guest") for name in ("RABBITMQ_USER", "RABBITMQ_PASSWORD"))
    scheme = "amqps" if where.ssl_options else "amqp"
    return f"{scheme}://{user}:{password}@{where.host}:{where.port}/{quote(where.virtual_host, safe='')}"


if __name__ == "__main__":
    make(os.environ).run()
