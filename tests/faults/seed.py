"""Create the users of the cases, each with a session: `python -m tests.faults.seed`."""

import django

USERS = 200  # used by the writers, which only advance the generation of their sessions
VISITORS = 4  # these log in over HTTP
PASSWORD = "correct horse battery staple"


def address(number: int) -> str:
    """Return the email address of a visitor."""
    return f"visitor{number}@example.com"


USER = address(VISITORS)  # logs in when a test says so


def main() -> None:
    """Create all users, and log in those of the writers."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.utils import timezone

    from ninja_auth_kit.models import EmailAddress

    addresses = (
        [f"user{number}@example.com" for number in range(USERS)] + [address(each) for each in range(VISITORS)] + [USER]
    )
    for email in addresses:
        user = get_user_model()(username=email.partition("@")[0], email=email)
        user.set_password(PASSWORD)
        user.save()
        EmailAddress.objects.create(user=user, email=email, canonical=email, verified_at=timezone.now())
    for email in addresses[:USERS]:
        credentials = {"email": email, "password": PASSWORD}
        assert Client().post("/api/auth/login", credentials, content_type="application/json").status_code == 200


if __name__ == "__main__":
    django.setup()
    main()
