"""A relay for the outboxes of all tenants, each of which has a schema of its own.

It has one connection to the database and one to the broker. In each round, it finds out with one statement for many
schemas where something waits, and publishes one batch of each of these outboxes. So a tenant with many events waits
for the others as they wait for it. The tenants are read anew in each round.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import ProgrammingError, connections

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.audit.relay.heartbeat import Heartbeat
from ninja_auth_kit.audit.relay.loop import Relay
from ninja_auth_kit.exceptions import describe_database_error
from ninja_auth_kit.tenancy import tenant_of, tenants, tenants_where

logger = logging.getLogger("ninja_auth_kit.relay")


class HeartbeatInEveryTenant(Heartbeat):
    """Writes a row into the schema of each tenant, so that `authkit_status` of one tenant shows the relay, too."""

    every = 60.0

    def _execute(self, statement: str, values: dict[str, Any]) -> None:
        connection = connections[self.using]
        for tenant in tenants(connection):
            with suppress(ProgrammingError), tenant_of(connection, tenant):  # it was dropped, or is not migrated
                super()._execute(statement, values)


class RelayOfEveryTenant(Relay):
    """Publishes the outboxes of all tenants in one database. Any number may run, also beside relays of one tenant."""

    heartbeat_class = HeartbeatInEveryTenant

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._relays: dict[str, Relay] = {}
        self._failing: set[str] = set()
        self._stop = threading.Event()

    def run(self, stop: threading.Event, *, report_alive: Callable[[], None] = lambda: None) -> None:
        """Publish until `stop` is set. The batch of the tenant that is being published is finished first."""
        self._stop = stop
        super().run(stop, report_alive=report_alive)

    def publish_batch(self) -> int:
        """Publish a batch of each outbox that has events, and return the number of events in the largest of them.

        Raises:
            BrokerError: the broker became unavailable or timed out. What it answered for is done; the rest waits.
            DatabaseError: the database is not available.
        """
        self.publisher.connect()
        self._wakeup.listen()
        largest = 0
        for tenant in tenants_where(connections[self.using], self._has_work):
            if self._stop.is_set():
                break
            largest = max(largest, self._publish_for(tenant))
        self.metrics.record_success()
        return largest

    def _has_work(self, schema: str) -> str:
        relay = self._relays.get(schema)
        return sql.has_work(schema, low_watermark=relay.low_watermark if relay else 0)

    def _publish_for(self, tenant: Any) -> int:
        """Publish a batch of one tenant. A schema that was dropped or is not migrated does not stop the others."""
        connection = connections[self.using]
        relay = self._relay_of(connection.ops.quote_name(tenant.schema_name))
        try:
            with tenant_of(connection, tenant):
                claimed = relay.publish_batch()
        except ProgrammingError as error:
            if tenant.schema_name not in self._failing:
                logger.warning("Tenant %s: %s", tenant.schema_name, describe_database_error(error))
            self._failing.add(tenant.schema_name)
            return 0
        self._failing.discard(tenant.schema_name)
        return claimed

    def _relay_of(self, schema: str) -> Relay:
        if schema not in self._relays:
            self._relays[schema] = Relay(self.publisher, using=self.using, batch=self.batch)
        relay = self._relays[schema]
        relay.metrics, relay._wakeup, relay._failures = self.metrics, self._wakeup, self._failures
        return relay
