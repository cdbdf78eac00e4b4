#!/usr/bin/env bash
# PgBouncer 1.18.0, transaction mode: the application_name that a client sets stays on the shared server connection
# when the client is gone, and clients without a name of their own then run under it.
#
# Expected by most people: PgBouncer tracks application_name for each client, so pg_stat_activity shows the name of the
# client that a server connection works for at the moment.
# Seen: a name is put onto the server connection only for a client that has one. For a client without one, nothing is
# put back. So pg_stat_activity shows clients that ended long ago, and gives their name to others.
#
# DATABASE_URL is a PostgreSQL server that this machine may log in to without a password. pgbouncer must be installed.
set -euo pipefail

url=${DATABASE_URL:-postgres://postgres@127.0.0.1:5432/postgres}
folder=$(mktemp -d)
pooler=
trap '[ -z "$pooler" ] || kill "$pooler" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'

read -r host port user name listen < <("$folder/venv/bin/python" - "$url" <<'PYTHON'
import socket
import sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    print(url.hostname, url.port or 5432, url.username or "postgres", url.path[1:], probe.getsockname()[1])
PYTHON
)
cat > "$folder/pgbouncer.ini" <<INI
[databases]
* = host=$host port=$port user=$user
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $listen
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
INI
start=(pgbouncer "$folder/pgbouncer.ini")
if [ "$(id -u)" = 0 ]; then # it does not run as root
    chmod 755 "$folder"
    start=(setpriv --reuid nobody --clear-groups pgbouncer "$folder/pgbouncer.ini")
fi
"${start[@]}" > /dev/null 2>&1 &
pooler=$!

"$folder/venv/bin/python" - "host=127.0.0.1 port=$listen user=$user dbname=$name" <<'PYTHON'
import sys
import time

import psycopg


def connect() -> psycopg.Connection:
    for _ in range(100):
        try:
            return psycopg.connect(sys.argv[1], autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)
    sys.exit("pgbouncer does not answer.")


def current_name(client: psycopg.Connection) -> str:
    return client.execute("SELECT current_setting('application_name')").fetchone()[0]


with connect() as other:
    before = current_name(other)
with connect() as first:
    first.execute("SELECT set_config('application_name', 'nightly report', false)")
with connect() as second:
    after = current_name(second)
print({"a client before": before, "another client afterwards": after})
if (before, after) != ("", "nightly report"):
    sys.exit("PgBouncer no longer behaves as described above.")
PYTHON
echo "As described: a client that has ended gave its name to another."
