"""Generate signals.md: every signal, its arguments and its event, from the comments beside the signals."""

import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from django.apps import apps

from docs.generators.events import anchor, kit_events, signal_of
from ninja_auth_kit import signals
from ninja_auth_kit.audit.events import Event

INTRODUCTION = """\
# Signals

Use a signal to react to an action in the same process: send a welcome email, count something, write a row of your own.
For other processes, use [the audit stream](audit.md).

```python
from ninja_auth_kit import signals
from ninja_auth_kit.audit.events import Event


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

"""
OPTIONAL = """
## {name}

These signals are in `{module}`, and exist if the app is installed.

"""
HEADER = """\
| signal | sent when | arguments | event |
|---|---|---|---|
"""
DECLARED = re.compile(r"((?:^# .*\n)+)^(\w+) = ActionSignal\(\)", re.MULTILINE)


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION + _table(signals)]
    for name, module in modules().items():
        parts.append(OPTIONAL.format(name=name, module=module.__name__) + _table(module))
    return "".join(parts)


def modules() -> dict[str, ModuleType]:
    """Return the modules of the installed optional apps that have signals, by the name of the feature."""
    found = [app for app in apps.get_app_configs() if app.name.startswith("ninja_auth_kit.contrib.")]
    return {
        str(app.verbose_name).rpartition(": ")[2].capitalize(): import_module(f"{app.name}.signals")
        for app in found
        if find_spec(f"{app.name}.signals")
    }


def _table(module: ModuleType) -> str:
    events = {signal_of(kind).rpartition(".")[2]: kind for kind in kit_events() if _announces(module, kind)}
    rows = []
    for name, (when, arguments) in declared(module).items():
        kind = events[name]
        rows.append(f"| `{name}` | {when} | {arguments} | [`{kind.name}`](events.md#{anchor(kind)}) |")
    return HEADER + "\n".join(rows) + "\n"


def _announces(module: ModuleType, kind: type[Event]) -> bool:
    """Return whether the signal of an event is in a module."""
    if module is signals:
        return bool(kind.signal)
    return kind.__module__.rpartition(".")[0] == module.__name__.rpartition(".")[0]


def declared(module: ModuleType) -> dict[str, tuple[str, str]]:
    """Return when each signal of a module is sent and its arguments, by its name."""
    found = DECLARED.findall(inspect.getsource(module))
    return {name: _split(re.sub(r"^# ", "", comment, flags=re.MULTILINE)) for comment, name in found}


def _split(comment: str) -> tuple[str, str]:
    """Split a comment into its sentences and, after three spaces, the arguments."""
    when, _, arguments = " ".join(comment.split("\n")).strip().partition("   ")
    return when, arguments.replace("|", "or")
