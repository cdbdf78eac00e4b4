"""The audit stream: from a signal to an outbox row in the same transaction, and from there to RabbitMQ.

    signals ──> receivers ──> messages ──> outbox ··· NOTIFY ···> relay ──> rabbitmq (pika)
                   │                          ^                     │
                facts, floods ────────────────┘                  deferrals

In requests run `receivers` (a signal is heard), `messages` (its bytes), `facts` (what survives a rollback), `floods`
(what is only counted) and `outbox` (the row). `events` says what there is to say, `host_events` lets a host add to it.

In a process or a thread of its own runs `relay`, which is the story; `listening` is how it waits, `shards` what it may
take, `pending` what it takes, `floor` where it need not look, `verdicts` what the broker said, `deferrals` what
becomes of what was refused, `embedded` the thread in a web process. `health`, `metrics` and `monitor` are for those
who watch it, `requeue` for those who mend, `failures` says in words what pika raises.
"""
