"""Audit events in another service: a consumer that handles each event once. It does not need Django.

    from ninja_auth_kit.audit.events import LoginFailed
    from ninja_auth_kit.consumer import Consumer, Postgres

    consumer = Consumer("amqp://user:password@broker", queue="billing.auth-events", store=Postgres("dbname=billing"))

    @consumer.on(LoginFailed)
    def note(event, db):
        db.execute("INSERT INTO failures (ip, at) VALUES (%s, %s)", (event.client.ip, event.time))

    consumer.run()

docs/consumers.md describes the contract and the limits.
"""

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.consumer.consumer import Consumer, UnacceptableError
from ninja_auth_kit.consumer.reading import replay, tail
from ninja_auth_kit.consumer.stores import AwayError, Memory, Postgres, Store
from ninja_auth_kit.tls import TLS, TLSFileError

__all__ = [
    "TLS",
    "AwayError",
    "BrokerError",
    "Consumer",
    "Memory",
    "Postgres",
    "Store",
    "TLSFileError",
    "UnacceptableError",
    "replay",
    "tail",
]
