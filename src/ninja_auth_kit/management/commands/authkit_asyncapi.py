"""`manage.py authkit_asyncapi`: the AsyncAPI document of the audit stream."""

import json
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from ninja_auth_kit import __version__
from ninja_auth_kit.audit.events.schemas import document
from ninja_auth_kit.conf import settings


class Command(BaseCommand):
    """Print the document."""

    help = (
        "Print the AsyncAPI 3 document of the audit events, as JSON, which is YAML as well: their routing keys, their "
        "schemas, and how they come. Events of this project, by @audit_event, are in it."
    )
    requires_system_checks = [Tags.compatibility]

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        made = document(exchange=settings.AUDIT_EXCHANGE, version=__version__)
        self.stdout.write(json.dumps(made, indent=2))
