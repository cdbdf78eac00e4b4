"""The commands of the kit in one tenant, in each tenant, and in none."""

import os
import re
import subprocess
import sys
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from ninja_auth_kit.models import AuditDeferred, EmailAddress, UserSession
from tests.conftest import EMAIL
from tests.servers import ROOT, database_url
from tests.smtp import SMTPServer
from tests.tenants.conftest import TENANTS, TenantApi, in_schema, join, outbox_of


def run(command: str, *arguments: str, schema: str) -> str:
    """Run a command as `manage.py tenant_command` does."""
    connection.set_schema_to_public()
    output = StringIO()
    call_command("tenant_command", command, *arguments, schema_name=schema, stdout=output)
    connection.set_schema_to_public()
    return output.getvalue()


def register_long_ago(*schemas: str) -> None:
    """Leave a registration whose address was never verified in each schema."""
    for schema in schemas:
        TenantApi(schema).register()
        with in_schema(schema):
            EmailAddress.objects.update(registered_at="2020-01-01T00:00:00Z")


def users() -> list[int]:
    counts = []
    for schema in TENANTS:
        with in_schema(schema):
            counts.append(get_user_model().objects.count())
    return counts


def test_prune_works_in_one_tenant_or_in_all() -> None:
    register_long_ago("north", "south")
    run("authkit_prune", schema="north")
    assert users() == [0, 1]
    register_long_ago("north")
    connection.set_schema_to_public()
    call_command("all_tenants_command", "authkit_prune", no_public=True, stdout=StringIO())
    assert users() == [0, 0]


def test_revoke_ends_the_sessions_of_one_tenant(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    first, second = join(north, smtp), join(south, smtp)
    assert "Ended 1 session of 1 user." in run("authkit_revoke", EMAIL, schema="north")
    assert not north.is_in(first["access_token"])
    assert south.is_in(second["access_token"])


def test_verify_and_doctor_see_the_users_of_one_tenant() -> None:
    for schema in ("north", "south"):
        with in_schema(schema):
            get_user_model().objects.create_user("ada", EMAIL, "correct horse battery staple")
    run("authkit_verify", EMAIL, schema="north")
    verified = []
    for schema in ("north", "south"):
        with in_schema(schema):
            verified.append(EmailAddress.objects.filter(verified_at__lte=timezone.now()).count())
    assert verified == [1, 0]
    assert run("authkit_doctor", schema="north")
    with pytest.raises(SystemExit):  # an administrator must act
        run("authkit_doctor", schema="south")


def test_requeue_puts_back_the_events_of_one_tenant() -> None:
    for schema in TENANTS:
        with in_schema(schema):
            AuditDeferred.objects.create(
                id=1_000_000,  # above those of the outbox, where it is put back
                event_id=uuid4(),
                shard=0,
                routing_key="auth.user.registered",
                payload="{}",
                created_at=timezone.now(),
                reason="unroutable",
                last_error="",
                attempts=1,
                state="parked",
            )
    run("authkit_requeue", schema="south")
    assert [len(outbox_of(schema)) for schema in TENANTS] == [0, 1]


@pytest.mark.parametrize("command", [["authkit_prune"], ["authkit_revoke", "--everyone"], ["authkit_doctor"]])
def test_a_command_that_needs_a_tenant_says_so(command: list[str]) -> None:
    connection.set_schema_to_public()
    with pytest.raises(CommandError, match=re.escape("`manage.py all_tenants_command --no-public COMMAND`")):
        call_command(*command, stdout=StringIO())


def test_a_deleted_user_leaves_no_session_in_the_schema(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    join(north, smtp)
    join(south, smtp)
    with in_schema("north"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user")
        assert UserSession.objects.count() == 0
    with in_schema("south"):
        assert UserSession.objects.count() == 1


def test_the_checks_find_nothing(settings: Any) -> None:
    connection.set_schema_to_public()
    output = StringIO()
    call_command("check", stdout=output, stderr=output)
    assert "ninja_auth_kit" not in output.getvalue()


@pytest.mark.parametrize(
    "command", ["tenant_command authkit_prune -s north", "all_tenants_command --no-public authkit_prune"]
)
def test_prune_works_from_the_command_line(command: str) -> None:
    register_long_ago("north", "south")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database_url()}
    program = [sys.executable, "-m", "django", *command.split()]
    subprocess.run(program, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True)
    assert users() == [0, 0 if command.startswith("all") else 1]
