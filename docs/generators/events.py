"""Generate events.md and asyncapi.json, from the event classes and from examples that a test run has recorded."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from django.dispatch import Signal

from docs.generators.standards import OCSF_ACTIVITIES, OCSF_CLASSES
from ninja_auth_kit import __version__
from ninja_auth_kit.audit.events import Event, all_events
from ninja_auth_kit.audit.events.base import details_of
from ninja_auth_kit.audit.events.schemas import asyncapi_document, schema_of, summary_of

DOCS = Path(__file__).parent.parent
EXAMPLES = DOCS / "examples.json"
EXAMPLES_OF_FEATURES = DOCS / "examples.features.json"

INTRODUCTION = DOCS / "events.intro.md"
MAPPINGS = """\
No event has these values; they are for a consumer that translates events for another system.

- OCSF: `class_uid` and `activity_id` in the [Open Cybersecurity Schema Framework](https://schema.ocsf.io).
  If there are two, the first one is for OCSF up to 1.8, and the second one for OCSF 1.9.0 and later.
  `status_id` is 1 if `data.outcome` is `success`, and 2 otherwise.
- CAEP, RISC: the corresponding event type of OpenID's shared signals:
  [CAEP 1.0](https://openid.net/specs/openid-caep-1_0.html) of 29 August 2025, and
  [RISC 1.0](https://openid.github.io/sharedsignals/openid-risc-1_0.txt), draft 04 of 13 May 2025.
  An event without `subject` has no counterpart, because a shared signal is about an account.
- ECS: `event.category` and `event.type` in the Elastic Common Schema
  [9.4.0](https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-category); both are lists.
  The other fields are `event.outcome` (`data.outcome`), `event.action` (the name), `user.id` (`data.target.id`) and
  `source.ip` (`data.client.ip`).

These values were chosen although a similar one exists:

- A refresh is OCSF 3002/99 (Other), because 3002/3 to 3002/5 are Kerberos tickets.
- A rate limit is ECS `api · denied`, because the category `authentication` has no type `denied`.
- A new email address is RISC `recovery-information-changed`, because section 2.5 reserves `identifier-changed` for the
  provider of the email address.
- A reused refresh token is only CAEP `session-revoked`, because a refresh token is not among the credential types of RISC
  `credential-compromise` (section 2.7).
- An update of the account is not CAEP `token-claims-change`, because that event contains claims of a token with their
  new values (section 3.2), and `user.updated` contains only names of fields.
"""


def events_page(examples: dict[str, Any]) -> str:
    """Return docs/events.md."""
    kinds = sorted(kit_events(), key=lambda kind: kind.name)
    rows = [
        f"| [`{kind.name}`](#{anchor(kind)}) | `{kind.routing_key}` | {'yes' if kind.fact else ''} | "
        f"{kind.ocsf or 'none'} | {kind.shared_signal or 'none'} | {ecs_text(kind)} |"
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
        *ocsf_table(),
        "",
    ]
    sections = [section(kind, examples[kind.type]) for kind in kinds]
    return "\n".join([INTRODUCTION.read_text(), *table, *sections])


def kit_events() -> list[type[Event]]:
    """Return the events of the kit and of its installed apps, without custom events."""
    return [kind for kind in all_events() if kind.__module__.startswith("ninja_auth_kit.")]


def signal_of(kind: type[Event]) -> str:
    """Return the name of the signal that announces an event, such as `signals.logged_in`."""
    if kind.signal:
        return f"signals.{kind.signal}"
    from ninja_auth_kit.audit.receivers import EVENTS  # it imports models, for which Django must be set up

    app = kind.__module__.rpartition(".")[0]
    declared = vars(import_module(f"{app}.signals"))
    (name,) = (name for name, value in declared.items() if isinstance(value, Signal) and EVENTS.get(value) is kind)
    return f"{app.rpartition('.')[2]}.signals.{name}"


def anchor(kind: type[Event]) -> str:
    """Return the anchor of an event in events.md."""
    return kind.name.replace(".", "")


def section(kind: type[Event], example: Any) -> str:
    """Return the section about one event."""
    details = schema_of(kind)["properties"]["data"]["properties"]["details"]["properties"]
    lines = [f"## {kind.name}", "", summary_of(kind), ""]
    lines += [f"- class `{kind.__name__}`, type `{kind.type}`, signal `{signal_of(kind)}`"]
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
    types = [member["type"]] if isinstance(member["type"], str) else member["type"]
    return " or ".join(
        {"integer": "number", "boolean": "true or false", "array": "list"}.get(one, one) for one in types
    )


def ocsf_table() -> list[str]:
    """Return the table of the OCSF ids, with their captions and the file that defines them."""
    files = {"3001": "account_change", "3002": "authentication", "3007": "user_management"}
    lines = ["| OCSF id | class | activity | defined in |", "|---|---|---|---|"]
    for id, activity in OCSF_ACTIVITIES.items():
        uid = id.partition("/")[0]
        source = f"https://github.com/ocsf/ocsf-schema/blob/main/events/iam/{files[uid]}.json"
        lines.append(f"| {id} | {OCSF_CLASSES[uid]} | {activity} | [{files[uid]}.json]({source}) |")
    return lines


def ecs(kind: type[Event]) -> tuple[list[str], list[str]]:
    """Return `event.category` and `event.type` in the Elastic Common Schema. The outcome is another field."""
    entity, action = kind.name.split(".")
    if entity == "request":
        return ["api"], ["denied"]
    if entity in {"passkey", "login_code"}:
        return ["authentication"], ["start"]
    if entity == "session":
        starts = action in {"logged_in", "login_failed", "factor_requested", "factor_failed"}
        ends = action in {"logged_out", "revoked"}
        return ["session" if ends else "authentication"], ["start" if starts else "end" if ends else "info"]
    types = {
        "registered": "creation",
        "registration_failed": "creation",
        "deleted": "deletion",
        "deletion_failed": "deletion",
    }
    return ["iam"], ["user", types.get(action, "info" if action.endswith("requested") else "change")]


def ecs_text(kind: type[Event]) -> str:
    """Return the category and the types of an event as a cell of the table."""
    categories, types = ecs(kind)
    return f"{', '.join(categories)} · {', '.join(types)}"


def pages() -> dict[str, str]:
    """Return the text of each generated file, by its name."""
    examples = json.loads(EXAMPLES.read_text()) | json.loads(EXAMPLES_OF_FEATURES.read_text())
    # The tests define custom events.
    asyncapi = asyncapi_document(exchange="auth.events", version=__version__, examples=examples, kinds=kit_events())
    return {
        "events.md": events_page(examples),
        "asyncapi.json": json.dumps(asyncapi, indent=2, ensure_ascii=False) + "\n",
    }
