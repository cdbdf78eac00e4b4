"""`manage.py authkit_asyncapi`: print the AsyncAPI document of the audit events."""

import json
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from ninja_auth_kit import __version__
from ninja_auth_kit.audit.events.schemas import asyncapi_document
from ninja_auth_kit.conf import settings


class Command(BaseCommand):
    """Print the AsyncAPI document."""

    help = (
        "Print the AsyncAPI 3 document of the audit events: their routing keys, their schemas and how they are "
        "delivered. The format is JSON, which is also valid YAML. The events that your project defines with "
        "@audit_event are included."
    )
    requires_system_checks = [Tags.compatibility]

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the document."""
        document = asyncapi_document(exchange=settings.AUDIT_EXCHANGE, version=__version__)
        self.stdout.write(json.dumps(document, indent=2))
