"""The SQL of the relay: each statement with what it does, why it has this form, and what would go wrong otherwise.

The modules of this package execute these constants. Parameters are named, as in `%(shards)s`.

Four tables are involved:

    outbox     events that wait to be published
    deferred   events that the broker refused: state "retry" is tried again, state "parked" waits for an operator
    flood      events that are only counted, one row for each flood
    relay      the relays that run, with their heartbeats

An unpublished event is in the outbox or deferred, never in both and never in neither.

Two clauses occur in most statements:

- `FOR UPDATE SKIP LOCKED`: rows that another session has locked are left for the next time. The relay does not wait
  for a request, for `authkit_requeue` or for another relay.
- `ORDER BY id`: the ids of a user's events are in the order in which they were recorded.
"""

from ninja_auth_kit.audit.record.aggregation import WINDOW
from ninja_auth_kit.audit.record.cloudevent import SHARDS
from ninja_auth_kit.audit.record.outbox import CHANNEL
from ninja_auth_kit.models import AuditDeferred, AuditFlood, AuditOutbox, AuditRelay

# Only constants and the names of the kit's own tables are formatted into the statements.
# ruff: noqa: S608

OUTBOX = f'"{AuditOutbox._meta.db_table}"'
DEFERRED = f'"{AuditDeferred._meta.db_table}"'
FLOOD = f'"{AuditFlood._meta.db_table}"'
RELAY = f'"{AuditRelay._meta.db_table}"'


IS_FINISHED = f"started_at <= clock_timestamp() - interval '{WINDOW} seconds'"  # of a flood


# --- Publishing the outbox ---

# The first half of the keys of the advisory locks; the second half is the shard. The number has
# no meaning. It only has to differ from those that other software uses in the same database.
LOCK_CLASS = 0x4E414B31

# Lock the free shards for the transaction that has just begun, and configure that transaction.
#
# A user's events are in one shard, and one relay at a time holds a shard. This keeps the order of
# each user with any number of relays. A transaction-level advisory lock needs no clock and no
# lease, and PostgreSQL releases it when the relay is gone.
#
# It is not part of CLAIM, because a statement sees the table as it was when the statement began.
# CLAIM must begin after the locks are held. Otherwise it would see rows that the previous holder
# of a shard has published and deleted in the meantime.
#
# Advisory locks are shared by all schemas of a database. `lock_offset` gives each tenant with tables
# of its own other locks, so that a busy tenant does not hold up the relay of another.
#
# Everything else that the transaction needs is here to save round trips:
#
# - idle_in_transaction_session_timeout: PostgreSQL ends a relay that freezes in the middle of a
#   batch, so that another one gets its shards. Without it, they would stay locked as long as the
#   relay is frozen.
# - synchronous_commit: the commit does not wait for the disk. If the server crashes before the
#   commit is flushed, what is lost is the deletion of published events. They are then published
#   again, but no event is lost.
# - the xmin of the snapshot and the transaction id: see `claims.LowWatermark`.
TAKE_SHARDS = f"""
SELECT
    set_config('idle_in_transaction_session_timeout', '20s', true),
    set_config('synchronous_commit', 'off', true),
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    pg_current_xact_id()::text::bigint,
    ARRAY(
        SELECT shard FROM generate_series(0, {SHARDS - 1}) AS shard
        WHERE pg_try_advisory_xact_lock({LOCK_CLASS}, %(lock_offset)s + shard)
    )
"""

# Return whether the outbox has rows. An idle relay asks this each time that it wakes, so it must
# be cheap: EXISTS stops at the first row, and no transaction or lock is needed. If the rows are
# in a shard that another relay holds, the claim that follows finds nothing.
HAS_EVENTS = f"SELECT EXISTS (SELECT 1 FROM {OUTBOX} WHERE id > %(low_watermark)s)"

# Read and lock the oldest rows of the shards that the transaction holds.
#
# `id > low_watermark` skips the entries of deleted rows, which stay in the index until VACUUM
# removes them. Without it, each claim would read all of them again.
CLAIM = f"""
SELECT id, event_id, routing_key, payload
FROM {OUTBOX}
WHERE shard = ANY(%(shards)s) AND id > %(low_watermark)s
ORDER BY id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Delete the events that the broker has confirmed. It runs in the transaction of CLAIM: if the
# relay fails before the commit, the rows are still there and are published again. Deleting them
# before the broker has confirmed them would lose events.
DELETE_CONFIRMED = f"DELETE FROM {OUTBOX} WHERE id = ANY(%(ids)s)"


# --- Events that the broker refused ---

# Three arrays of equal length as rows: one parameter each, however many events were refused.
REFUSED = "unnest(%(ids)s::bigint[], %(reasons)s::varchar[], %(errors)s::text[]) AS refused (id, reason, error)"

# Move refused events from the outbox to the deferred, so that they hold up no other event. They
# keep their id, which keeps their order among themselves and if they are put back.
#
# One statement, so that an event is always in exactly one of the two tables, and its payload does
# not travel to the relay and back. Reasons that are final are parked. The others are due again
# after 5 seconds by the clock of the database, because the clocks of several machines differ.
SET_ASIDE = f"""
WITH removed AS (
    DELETE FROM {OUTBOX} WHERE id = ANY(%(ids)s) RETURNING *
)
INSERT INTO {DEFERRED}
    (id, event_id, shard, routing_key, payload, created_at, reason, last_error, attempts, state, next_attempt_at)
SELECT
    id, event_id, shard, routing_key, payload, created_at, reason, error, 1,
    CASE WHEN reason = ANY(%(final)s) THEN 'parked' ELSE 'retry' END,
    CASE WHEN reason = ANY(%(final)s) THEN NULL ELSE clock_timestamp() + interval '5 seconds' END
FROM removed JOIN {REFUSED} USING (id)
"""

IS_DUE = "state = 'retry' AND next_attempt_at <= clock_timestamp()"

# Return whether a deferred event is due, so that no transaction is opened if none is.
HAS_DUE_RETRIES = f"SELECT EXISTS (SELECT 1 FROM {DEFERRED} WHERE {IS_DUE})"

# Read and lock the oldest deferred events that are due. They are published in the order of their
# ids, but after younger events that were not refused: the one exception to the order of a user.
CLAIM_RETRIES = f"""
SELECT id, event_id, routing_key, payload
FROM {DEFERRED}
WHERE {IS_DUE} AND shard = ANY(%(shards)s)
ORDER BY id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Delete the deferred events that the broker has confirmed this time.
DELETE_CONFIRMED_RETRIES = f"DELETE FROM {DEFERRED} WHERE id = ANY(%(ids)s)"

# Put off the deferred events that the broker refused again: 5 seconds doubled with each attempt,
# up to 5 minutes. `attempts` in the expression is the number before this statement;
# least(attempts, 10) keeps the power from overflowing an interval.
TRY_LATER = f"""
UPDATE {DEFERRED} AS event
SET attempts = attempts + 1,
    reason = refused.reason,
    last_error = refused.error,
    state = CASE WHEN refused.reason = ANY(%(final)s) THEN 'parked' ELSE 'retry' END,
    next_attempt_at = CASE
        WHEN refused.reason = ANY(%(final)s) THEN NULL
        ELSE clock_timestamp() + least(interval '5 seconds' * 2 ^ least(attempts, 10), interval '5 minutes')
    END
FROM {REFUSED}
WHERE event.id = refused.id
"""


# --- All tenants ---


def has_work(schema: str, *, low_watermark: int) -> str:
    """Return a condition: whether an event waits in a schema, a refused one is due, or the window of a flood is over.

    A relay of all tenants asks this about many schemas with one statement, instead of asking three things in each.

    Args:
        schema: the quoted name.
        low_watermark: as in HAS_EVENTS.
    """
    return f"""(
        EXISTS (SELECT FROM {schema}.{OUTBOX} WHERE id > {low_watermark:d})
        OR EXISTS (SELECT FROM {schema}.{DEFERRED} WHERE {IS_DUE})
        OR EXISTS (SELECT FROM {schema}.{FLOOD} WHERE {IS_FINISHED})
    )"""


# --- Commands and the admin ---

# Move deferred events back to the outbox, under the ids that they had there: the relay publishes
# them in their order, before younger events. Poison stays, because it can never be sent.
#
# One statement, so that an event is always in exactly one of the two tables. It may run outside a
# transaction, where an interruption between two statements would lose events or duplicate them.
# SKIP LOCKED leaves the events that a relay is publishing at the moment. Without it, the command
# would wait until the relay has finished its batch.
REQUEUE = f"""
WITH moved AS (
    DELETE FROM {DEFERRED} WHERE id IN (
        SELECT id FROM {DEFERRED} WHERE id = ANY(%(ids)s) AND reason <> 'poison'
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
    RETURNING id, event_id, shard, routing_key, payload, created_at
)
INSERT INTO {OUTBOX} (id, event_id, shard, routing_key, payload, created_at)
SELECT id, event_id, shard, routing_key, payload, created_at FROM moved ORDER BY id
RETURNING id
"""

# Delete deferred events for good, but not those that a relay is publishing at the moment.
DISCARD = f"""
DELETE FROM {DEFERRED} WHERE id IN (
    SELECT id FROM {DEFERRED} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED
)
RETURNING id
"""


# --- Floods ---

# Delete the rows of floods whose window is over, and return what the relay makes an event of.
#
# DELETE ... RETURNING is one statement, so that a failure is counted exactly once. A request that
# increments a row holds its lock: the row is skipped and taken the next time. A later failure of
# the same flood inserts a new row, and a second relay gets other rows. Reading first and deleting
# afterwards would lose what was counted in between.
TAKE_FINISHED_FLOODS = f"""
DELETE FROM {FLOOD} WHERE id IN (
    SELECT id FROM {FLOOD} WHERE {IS_FINISHED}
    LIMIT 500 FOR UPDATE SKIP LOCKED
)
RETURNING seen, lane, routing_key, payload, first_at, last_at
"""


# --- Health ---

# Count the events in the outbox, but no more than the limit: counting a million rows takes
# seconds.
COUNT_EVENTS = f"SELECT count(*) FROM (SELECT 1 FROM {OUTBOX} LIMIT %(limit)s) AS first_rows"

# Estimate the number of events from the statistics, which may lag behind: it is at least what was
# counted.
ESTIMATE_EVENTS = """
SELECT greatest(n_live_tup, %(counted)s) FROM pg_stat_user_tables WHERE relid = to_regclass(%(table)s)
"""

# Return the age of the oldest event in seconds. By the id, which has an index, and not by
# min(created_at), which would read every row.
OLDEST_AGE = f"""
SELECT coalesce(extract(epoch FROM clock_timestamp() - created_at), 0)::float8
FROM {OUTBOX} ORDER BY id LIMIT 1
"""

# Count the deferred events by state and reason, each with the age of the oldest.
COUNT_DEFERRED = f"""
SELECT state, reason, count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM {DEFERRED} GROUP BY state, reason ORDER BY 1, 2
"""

# Return the relays that run: those with a heartbeat within the last two minutes. This is also how
# old a health file may become. Not by the sessions of the database: behind a pooler, a relay has
# no session of its own, and the name that it gave to one stays there when the relay is gone.
RUNNING_RELAYS = f"""
SELECT
    id::text, host, process_id, is_embedded, state,
    extract(epoch FROM clock_timestamp() - started_at)::float8,
    extract(epoch FROM clock_timestamp() - seen_at)::float8,
    failure, extract(epoch FROM clock_timestamp() - failed_at)::float8
FROM {RELAY} WHERE seen_at > clock_timestamp() - interval '2 minutes'
ORDER BY host, process_id, started_at
"""


# --- The heartbeat of the relay ---

# Write the heartbeat of a relay, and delete the rows of relays that were killed long ago.
#
# One statement outside a transaction, so no lock is held afterwards. A relay writes its own row
# only, and SKIP LOCKED lets two relays delete old rows at the same time, so none waits for another.
# All times are those of the database, because the clocks of several machines differ.
HEARTBEAT = f"""
WITH gone AS (
    DELETE FROM {RELAY} WHERE id IN (
        SELECT id FROM {RELAY} WHERE seen_at < clock_timestamp() - interval '1 hour' AND id <> %(id)s
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO {RELAY} AS known
    (id, host, process_id, is_embedded, state, failure, failed_at, started_at, seen_at)
VALUES (
    %(id)s, %(host)s, %(process_id)s, %(is_embedded)s, %(state)s, %(failure)s,
    clock_timestamp() - make_interval(secs => %(failed_seconds)s), clock_timestamp(), clock_timestamp()
)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state,
    failure = excluded.failure,
    failed_at = excluded.failed_at,
    seen_at = excluded.seen_at
"""

# Delete the row of a relay that ends.
LAST_HEARTBEAT = f"DELETE FROM {RELAY} WHERE id = %(id)s"


# --- The session of the relay ---

# Name the session for people who look at pg_stat_activity. Not local to a transaction: it holds
# until the connection is closed.
NAME_SESSION = "SELECT set_config('application_name', %(name)s, false)"

# Receive the notifications that requests send (see `record.outbox`).
LISTEN = f"LISTEN {CHANNEL}"

# Undo both at the end. An unknown pool would otherwise hand the session to a request as it is.
END_SESSION = ("UNLISTEN *", "RESET application_name")
