"""Generate signals.md: every signal, its arguments and its event, from the comments in `ninja_auth_kit.signals`."""

import inspect
import re

from docs.generators.events import anchor, kit_events
from ninja_auth_kit import signals

INTRODUCTION = """\
# Signals

Use a signal to react to an action in the same process: send a welcome email, count something, write a row of your own.
For other processes, use [the audit stream](audit.md).

```python
from ninja_auth_kit import signals


def print_login(sender, *, user, client, **kwargs):
    print(f"{user} logged in from {client.ip_address}")


signals.logged_in.connect(print_login)
```

- `signals.logged_in.connect(receiver)` calls the receiver **after the commit**.
  The action is final, and a signal is not sent for an action that was rolled back.
  If the receiver raises an exception, it is logged and has no other effect.
- `signals.logged_in.in_transaction.connect(receiver)` calls the receiver **inside the transaction**.
  If the receiver raises an exception, the action is rolled back.

Every signal has the arguments `user` (None if no user is known) and `client`, a `ClientInfo` (None outside a request).
If an administrator performed the action, it also has `by="admin"` and `actor_id`.
The kit also sends Django's own `user_logged_in`, `user_logged_out` and `user_login_failed`.

| signal | sent when | arguments | event |
|---|---|---|---|
"""
DECLARED = re.compile(r"((?:^# .*\n)+)^(\w+) = ActionSignal\(\)", re.MULTILINE)


def page() -> str:
    """Return the page."""
    events = {kind.signal: kind for kind in kit_events()}
    rows = []
    for name, (when, arguments) in declared().items():
        kind = events[name]
        rows.append(f"| `{name}` | {when} | {arguments} | [`{kind.name}`](events.md#{anchor(kind)}) |")
    return INTRODUCTION + "\n".join(rows) + "\n"


def declared() -> dict[str, tuple[str, str]]:
    """Return when each signal is sent and its arguments, by its name."""
    found = DECLARED.findall(inspect.getsource(signals))
    return {name: _split(re.sub(r"^# ", "", comment, flags=re.MULTILINE)) for comment, name in found}


def _split(comment: str) -> tuple[str, str]:
    """Split a comment into its sentences and, after three spaces, the arguments."""
    when, _, arguments = " ".join(comment.split("\n")).strip().partition("   ")
    return when, arguments.replace("|", "or")
