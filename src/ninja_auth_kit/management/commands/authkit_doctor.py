"""`manage.py authkit_doctor`: list users who cannot log in or reset their password, and why."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ninja_auth_kit.management.cli import (
    counted,
    database_errors_as_command_errors,
    ignore_broken_pipe,
    positive_integer,
)
from ninja_auth_kit.services.diagnosis import Diagnosis, Finding, diagnose

LISTED = 20  # primary keys of each reason


class Command(BaseCommand):
    """List users who cannot log in or reset their password, and why."""

    help = (
        "Count the users who cannot log in or reset their password, for each reason, with the primary keys of some "
        "and with what to do. Nothing is changed. The exit code is 1 if any of them needs your help: disabled users, "
        "registrations that wait for their owners and users whose reset sets their first password do not. Rights that "
        "an authentication backend withholds are not examined."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --list and --json."""
        parser.add_argument(
            "--list",
            type=positive_integer,
            default=LISTED,
            metavar="NUMBER",
            help="how many primary keys to list for each reason (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was found, and exit with 1 if a user needs an operator."""
        with database_errors_as_command_errors():
            diagnosis = diagnose(limit=options["list"])
        with ignore_broken_pipe(self.stdout):
            self.stdout.write(json.dumps(_as_dict(diagnosis)) if options["json"] else _as_text(diagnosis))
        if not diagnosis.is_healthy:
            sys.exit(1)


def _as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "healthy": diagnosis.is_healthy,
        "users": diagnosis.users,
        "reasons": [
            {
                "reason": finding.reason.name,
                "problem": finding.reason.is_problem,
                "count": finding.count,
                "users": [str(key) for key in finding.users],
                "groups": [[str(key) for key in group] for group in finding.groups],
                "text": finding.reason.text,
                "fix": finding.reason.fix,
            }
            for finding in diagnosis.findings
        ],
    }


def _as_text(diagnosis: Diagnosis) -> str:
    problems = [finding for finding in diagnosis.findings if finding.reason.is_problem]
    others = [finding for finding in diagnosis.findings if not finding.reason.is_problem]
    parts = [f"Examined {counted(diagnosis.users, 'user')}."]
    parts += [_paragraph(finding) for finding in problems] or ["No user needs help."]
    if others:
        parts += ["As intended:", *map(_paragraph, others)]
    return "\n\n".join(parts)


def _paragraph(finding: Finding) -> str:
    listed = "; ".join(" and ".join(map(str, group)) for group in finding.groups) or ", ".join(map(str, finding.users))
    more = ", …" if finding.count > len(finding.users) else ""
    title = f"{finding.reason.name}: {counted(finding.count, 'user')} ({listed}{more})"
    return f"{title}\n  {finding.reason.text}\n  Fix: {finding.reason.fix}"
