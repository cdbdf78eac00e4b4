"""Another service: hears the audit events and keeps what it needs of them. `python consumer.py`.

It is no Django, and has tables of its own. It stands for whatever you have that wants to know: a dashboard, an alarm,
a mail to the owner of an account. `make demo` runs it beside the server.
"""

import os
from collections.abc import Mapping
from urllib.parse import quote

import psycopg

from broker import parameters
from ninja_auth_kit.audit.events import Event, LoginFailed, ReuseDetected
from ninja_auth_kit.consumer import Consumer, Postgres

TABLES = """
CREATE TABLE IF NOT EXISTS consumer_activity (happened_at timestamptz, subject text, event text, ip text);
CREATE TABLE IF NOT EXISTS consumer_suspicion (ip text PRIMARY KEY, failures integer NOT NULL);
"""


def make(environment: Mapping[str, str]) -> Consumer[psycopg.Cursor[object]]:
    """Return the consumer, with its tables made."""
    database = environment["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
    store = Postgres(database)
    store.install()
    with psycopg.connect(database) as connection:
        connection.execute(TABLES)
    queue = environment.get("CONSUMER_QUEUE", "example.auth-events")
    consumer = Consumer(broker_url(environment), queue=queue, store=store)

    @consumer.on(Event)
    def keep(event: Event, db: psycopg.Cursor[object]) -> None:
        """Whatever this does to the database is committed together with the note that the event was handled."""
        values = (event.time, event.subject, event.name, event.client.ip)
        db.execute("INSERT INTO consumer_activity VALUES (%s, %s, %s, %s)", values)
        print(f"consumer: {event.name} {event.subject or ''} {event.reason or ''}".rstrip(), flush=True)

    @consumer.on(LoginFailed)
    def suspect(event: LoginFailed, db: psycopg.Cursor[object]) -> None:
        """One event may stand for many failures: `count` says for how many."""
        db.execute(
            "INSERT INTO consumer_suspicion AS known VALUES (%s, %s) "
            "ON CONFLICT (ip) DO UPDATE SET failures = known.failures + excluded.failures",
            (event.client.ip or "unknown", event.count),
        )

    @consumer.on(ReuseDetected)
    def alarm(event: ReuseDetected, db: psycopg.Cursor[object]) -> None:
        print(
            f"consumer: a stolen token, perhaps: session {event.session.id} of {event.subject} was ended", flush=True
        )

    return consumer


def broker_url(environment: Mapping[str, str]) -> str:
    """Return where the broker is, from the same variables as the server's."""
    where = parameters(environment)
    if where is None:
        raise SystemExit("RABBITMQ_HOST is empty: there is no broker to hear events from.")
    user, password = (quote(environment.get(name) or "guest") for name in ("RABBITMQ_USER", "RABBITMQ_PASSWORD"))
    scheme = "amqps" if where.ssl_options else "amqp"
    return f"{scheme}://{user}:{password}@{where.host}:{where.port}/{quote(where.virtual_host, safe='')}"


if __name__ == "__main__":
    make(os.environ).run()
