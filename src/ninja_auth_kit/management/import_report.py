"""What the commands print that import from another package: progress, what was skipped, and a summary."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import TextChoices

PROGRESS_EVERY = 10_000
LISTED = 100  # rows of each outcome in the JSON object


@dataclass(frozen=True)
class ImportedRow:
    """What became of a row.

    Attributes:
        kind: of which kind it is, for the summary.
        outcome: a choice with the value "done" or "known", or the reason why the row was skipped.
        skipped: the line about a row that was skipped, without the outcome.
        described: the same for the JSON object.
        error: the name of the exception that was the reason, or "".
    """

    kind: str
    outcome: TextChoices
    skipped: str
    described: dict[str, str]
    error: str = ""


def report_import(
    command: BaseCommand, rows: Iterable[ImportedRow], options: dict[str, Any], *, noun: str, plural: str
) -> None:
    """Print the rows of an import while it runs, and a summary.

    Args:
        command: where to print.
        rows: the rows; iterating imports them.
        options: those of the command: `json`, `dry_run` and `verbosity`.
        noun: what a row is, such as "factor".
        plural: its plural.
    """
    counts: Counter[TextChoices] = Counter()
    imported: Counter[str] = Counter()
    listed: dict[TextChoices, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        counts[row.outcome] += 1
        if row.outcome.value == "done":
            imported[row.kind] += 1
        elif row.outcome.value != "known":
            if not options["json"]:
                error = f" ({row.error})" if row.error else ""
                command.stdout.write(f"skipped {row.skipped}: {row.outcome.label}{error}")
            elif len(listed[row.outcome]) < LISTED:
                listed[row.outcome].append(row.described | ({"error": row.error} if row.error else {}))
        if counts.total() % PROGRESS_EVERY == 0 and options["verbosity"] > 0:
            command.stderr.write(f"{counts.total()} {plural} so far")
    is_dry_run, nouns = options["dry_run"], (noun, plural)
    if options["json"]:
        command.stdout.write(_as_json(counts, imported, listed, is_dry_run=is_dry_run))
    else:
        command.stdout.write("\n".join(_summary(counts, imported, is_dry_run=is_dry_run, nouns=nouns)))


def _as_json(
    counts: Counter[TextChoices],
    imported: Counter[str],
    listed: dict[TextChoices, list[dict[str, str]]],
    *,
    is_dry_run: bool,
) -> str:
    skipped = {
        outcome.value: {"count": count, "listed": listed[outcome]}
        for outcome, count in counts.items()
        if outcome.value != "done"
    }
    return json.dumps({"imported": dict(imported), "dry_run": is_dry_run, "skipped": skipped})


def _summary(
    counts: Counter[TextChoices], imported: Counter[str], *, is_dry_run: bool, nouns: tuple[str, str]
) -> list[str]:
    by_value = Counter({outcome.value: count for outcome, count in counts.items()})
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(imported.items()))
    verb = "would be imported" if is_dry_run else "imported"
    lines = [f"{_counted(by_value['done'], nouns)} {verb}{f' ({kinds})' if kinds else ''}."]
    if by_value["known"]:
        lines.append(f"{_counted(by_value['known'], nouns)} imported before.")
    if left := by_value.total() - by_value["done"] - by_value["known"]:
        lines.append(f"{left} skipped, see above.")
    return lines


def _counted(number: int, nouns: tuple[str, str]) -> str:
    return f"{number} {nouns[number != 1]}"
