"""signals.md: every signal, what it carries and its event, from the comments in `ninja_auth_kit.signals`."""

import inspect
import re

from docs.generators.events import anchor, kit_events
from ninja_auth_kit import signals

INTRODUCTION = """\
# Signals

For code of yours in the same process: a welcome mail, a counter, a row in a table of yours.

```python
from ninja_auth_kit import signals


def greet(sender, *, user, client, **said):
    print(f"{user} is here, from {client.ip_address}")


signals.logged_in.connect(greet)
```

`connect` hears **after the commit**: what arrives is true and final, a receiver that fails is logged and harms nothing, and an
action that was rolled back is never heard of. `signals.logged_in.in_transaction.connect` hears **inside the transaction**: an
exception of yours undoes the action. Every signal carries `user` (None where nobody is known) and `client`, a `ClientInfo` (None outside
a request). Where an administrator acted it also carries `by="admin"` and `actor_id`. For other processes there is [the
stream](audit.md). Django's own `user_logged_in`, `user_logged_out` and `user_login_failed` are sent too.

| signal | when | carries | event |
|---|---|---|---|
"""
DECLARED = re.compile(r"((?:^# .*\n)+)^(\w+) = ActionSignal\(\)", re.MULTILINE)


def page() -> str:
    """Return the page."""
    events = {kind.signal: kind for kind in kit_events()}
    rows = []
    for name, (when, carries) in declared().items():
        kind = events[name]
        rows.append(f"| `{name}` | {when} | {carries} | [`{kind.name}`](events.md#{anchor(kind)}) |")
    return INTRODUCTION + "\n".join(rows) + "\n"


def declared() -> dict[str, tuple[str, str]]:
    """Return when each signal is sent and what it carries, by its name."""
    found = DECLARED.findall(inspect.getsource(signals))
    return {name: _parted(re.sub(r"^# ", "", comment, flags=re.MULTILINE)) for comment, name in found}


def _parted(comment: str) -> tuple[str, str]:
    """Part a comment: a sentence or two, and after three spaces what is carried."""
    when, _, carries = " ".join(comment.split("\n")).strip().partition("   ")
    return when, carries.replace("|", "or")
