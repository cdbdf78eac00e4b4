"""The relay, a process or a thread of its own: it publishes the outbox to the broker."""
