"""Generate events.md and asyncapi.json, from the event classes and from examples that a test run has recorded."""

import json
from pathlib import Path
from typing import Any

from ninja_auth_kit import __version__
from ninja_auth_kit.audit.events import Event, all_events
from ninja_auth_kit.audit.events.base import details_of
from ninja_auth_kit.audit.events.schemas import asyncapi_document, schema_of, summary_of

DOCS = Path(__file__).parent.parent
EXAMPLES = DOCS / "examples.json"

INTRODUCTION = DOCS / "events.intro.md"
MAPPINGS = """\
- OCSF: the class and the activity in the [Open Cybersecurity Schema Framework](https://schema.ocsf.io).
- CAEP, RISC: the corresponding event of OpenID's shared signals.
- ECS: `event.category` and `event.type` in the Elastic Common Schema.
  The other fields are `event.outcome` (`data.outcome`), `event.action` (the name), `user.id` (`data.target.id`) and
  `source.ip` (`data.client.ip`).
"""


def events_page(examples: dict[str, Any]) -> str:
    """Return docs/events.md."""
    kinds = sorted(kit_events(), key=lambda kind: kind.name)
    rows = [
        f"| [`{kind.name}`](#{anchor(kind)}) | `{kind.routing_key}` | {'yes' if kind.fact else ''} | "
        f"{kind.ocsf or 'none'} | {kind.shared_signal or 'none'} | {' · '.join(ecs(kind))} |"
        for kind in kinds
    ]
    table = [
        "## All events",
        "",
        MAPPINGS,
        "| event | routing key | fact | OCSF | CAEP, RISC | ECS |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    sections = [section(kind, examples[kind.type]) for kind in kinds]
    return "\n".join([INTRODUCTION.read_text(), *table, *sections])


def kit_events() -> list[type[Event]]:
    """Return the events of the kit, without custom events."""
    return [kind for kind in all_events() if kind.signal]


def anchor(kind: type[Event]) -> str:
    """Return the anchor of an event in events.md."""
    return kind.name.replace(".", "")


def section(kind: type[Event], example: Any) -> str:
    """Return the section about one event."""
    details = schema_of(kind)["properties"]["data"]["properties"]["details"]["properties"]
    lines = [f"## {kind.name}", "", summary_of(kind), ""]
    lines += [f"- class `{kind.__name__}`, type `{kind.type}`, signal `signals.{kind.signal}`"]
    if details:
        members = ", ".join(f"`{name}` ({type_name(member)})" for name, member in details.items())
        lines.append(f"- `details`: {members}. {summary_of(details_of(kind))}")
    if kind.reasons:
        lines.append("- `reason`:")
        lines += [f"  - `{reason}`: {meaning}" for reason, meaning in kind.reasons.items()]
    if kind.is_aggregated:
        lines.append("- aggregated: if there are many at once, some of them are published as one event with a count")
    shown = json.dumps(example, indent=2, ensure_ascii=False)
    return "\n".join([*lines, "", "```json", shown, "```", ""])


def type_name(member: dict[str, Any]) -> str:
    """Return the type of a member in words."""
    if "enum" in member:
        return " or ".join(f'"{value}"' for value in member["enum"])
    return {"integer": "number", "boolean": "true or false", "array": "list"}.get(member["type"], member["type"])


def ecs(kind: type[Event]) -> tuple[str, str]:
    """Return `event.category` and `event.type` in the Elastic Common Schema."""
    entity, action = kind.name.split(".")
    if entity == "session":
        types = {"logged_in": "start", "login_failed": "start", "logged_out": "end", "revoked": "end"}
        return ("session" if action in {"logged_out", "revoked"} else "authentication"), types.get(action, "info")
    types = {"registered": "creation", "registration_failed": "creation", "deleted": "deletion"}
    if entity == "request":
        return "authentication", "denied"
    changes = kind.outcome_word == "success" and not action.endswith("requested")
    return "iam", types.get(action, "change" if changes else "info")


def pages() -> dict[str, str]:
    """Return the text of each generated file, by its name."""
    examples = json.loads(EXAMPLES.read_text())
    asyncapi = asyncapi_document(exchange="auth.events", version=__version__, examples=examples)
    asyncapi = {**asyncapi, **{part: without_custom_events(asyncapi[part]) for part in ("channels", "operations")}}
    asyncapi["components"] = {"messages": without_custom_events(asyncapi["components"]["messages"])}
    return {
        "events.md": events_page(examples),
        "asyncapi.json": json.dumps(asyncapi, indent=2, ensure_ascii=False) + "\n",
    }


def without_custom_events(members: dict[str, Any]) -> dict[str, Any]:
    """Leave out custom events, because the tests define some."""
    known = {kind.name for kind in kit_events()}
    return {name: member for name, member in members.items() if name.removeprefix("send.") in known}
