"""Create the two users of the demo: `manage.py seed`."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from accounts.models import User
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.email_addresses import canonical_email

USERS = (
    ("ada@example.com", "ada likes long passwords", {}),
    ("grace@example.com", "grace runs the whole place", {"is_staff": True, "is_superuser": True}),
)


class Command(BaseCommand):
    """Create the users of the demo, unless they exist."""

    help = "Create the two users of the demo, with verified email addresses. Existing users are not changed."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the users, and print their passwords."""
        for email, password, rights in USERS:
            if not User.objects.filter(email=email).exists():
                user = User.objects.create_user(email, password, **rights)
                EmailAddress.objects.create(
                    user=user, email=email, canonical=canonical_email(email), verified_at=timezone.now()
                )
            self.stdout.write(f"{email}: {password}")
