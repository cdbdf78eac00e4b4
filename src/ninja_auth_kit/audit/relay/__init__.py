"""The relay, another process or a thread: from the outbox to the broker."""
