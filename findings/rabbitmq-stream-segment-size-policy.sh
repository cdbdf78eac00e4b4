#!/usr/bin/env bash
# RabbitMQ 4.0.5 and 4.3.6: a policy with stream-max-segment-size-bytes is accepted for a stream that exists, is listed
# as its policy, and has no effect, not even after a restart. max-age in the same policy does have one.
#
# Expected by most people: the policy makes the segments smaller, so that max-age can delete old messages. Or it is
# refused.
# Seen: all messages stay in one segment (500 MB by default), and the segment that is being written is never deleted. So
# messages are still there long after max-age. A stream that is declared with the same limits deletes them.
#
# RABBITMQ_SBIN names the programs of a RabbitMQ 4; of several directories, separated by colons, the last is used.
set -euo pipefail

sbin=${RABBITMQ_SBIN:-/usr/lib/rabbitmq/bin}
sbin=${sbin##*:}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL -- "-$server" 2>/dev/null || true; sleep 1; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pika==1.4.4'
read -r port dist < <(python3 -c '
import socket
ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in ports))')

printf '[].\n' > "$folder/enabled_plugins"
touch "$folder/rabbitmq.conf"
export HOME=$folder RABBITMQ_BASE=$folder RABBITMQ_NODENAME=finding-$port@localhost
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$dist
export RABBITMQ_MNESIA_BASE=$folder/data RABBITMQ_LOG_BASE=$folder/log RABBITMQ_PID_FILE=$folder/pid
export RABBITMQ_ENABLED_PLUGINS_FILE=$folder/enabled_plugins RABBITMQ_CONFIG_FILE=$folder/rabbitmq
export RABBITMQ_CONF_ENV_FILE=$folder/none

start() {
    setsid "$sbin/rabbitmq-server" > "$folder/out" 2>&1 &
    server=$!
    for _ in $(seq 60); do
        "$sbin/rabbitmqctl" -q await_startup --timeout 5 > /dev/null 2>&1 && return
        sleep 1
    done
    echo "RabbitMQ did not start." >&2
    exit 1
}

publish() { # 1 MB into each stream
    "$folder/venv/bin/python" - "$port" <<'PYTHON'
import sys

import pika

connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))
channel = connection.channel()
limits = {"x-max-age": "2s", "x-stream-max-segment-size-bytes": 100_000}
for name, arguments in (("by-policy", {}), ("by-argument", limits)):
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream", **arguments})
channel.confirm_delivery()
for _ in range(200):
    for name in ("by-policy", "by-argument"):
        channel.basic_publish("", name, b"x" * 5_000, pika.BasicProperties(delivery_mode=2))
connection.close()
PYTHON
}

kept() { # how many bytes of a stream are on the disk
    find "$folder/data" -path "*stream*" -path "*$1*" -name '*.segment' -printf '%s\n' | awk '{sum += $1} END {print sum + 0}'
}

start
publish
"$sbin/rabbitmqctl" -q set_policy small by-policy '{"max-age": "2s", "stream-max-segment-size-bytes": 100000}' --apply-to queues
sleep 2
listed=$("$sbin/rabbitmqctl" -q list_queues name policy | awk '$1 == "by-policy" {print $2}')
"$sbin/rabbitmqctl" -q stop
wait "$server" || true
start
sleep 3
publish
sleep 3
publish
sleep 2
policy=$(kept by-policy) argument=$(kept by-argument)
echo "policy listed: $listed; bytes kept of 3 MB: by policy $policy, by argument $argument"
if [ "$listed" != small ] || [ "$policy" -lt 3000000 ] || [ "$argument" -gt 2000000 ]; then
    echo "RabbitMQ no longer behaves as described above." >&2
    exit 1
fi
echo "As described: the policy is listed, and the stream still has every message."
