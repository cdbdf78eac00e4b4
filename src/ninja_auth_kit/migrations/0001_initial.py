"""Every table of the kit, and the care of the outbox.

What ties them to the users, foreign keys and an index, is made behind the migrations: see `models/user_constraints.py`.
"""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from ninja_auth_kit.models.user_constraints import ADDRESS_INDEX

# The outbox and the promised emails live by INSERT and DELETE: vacuum by count, often, and without waiting.
_OFTEN = """(
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
)"""
TEND_OUTBOX = f"""
ALTER TABLE ninja_auth_kit_auditoutbox SET {_OFTEN};
ALTER TABLE ninja_auth_kit_promisedemail SET {_OFTEN}
"""


def drop_index_of_addresses(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave the users' table as it was."""
    schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(ADDRESS_INDEX)}")


# A GIN index of Django is in django.contrib.postgres, which your project may not have installed.
INDEX_HELD_VALUES = "CREATE INDEX authkit_shadow_by_value ON ninja_auth_kit_shadowregistration USING gin (held)"


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditOutbox",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("event_id", models.UUIDField(verbose_name="event ID")),
                ("shard", models.SmallIntegerField(verbose_name="shard")),
                ("routing_key", models.CharField(max_length=255, verbose_name="routing key")),
                ("payload", models.TextField(verbose_name="payload")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "audit event in the outbox",
                "verbose_name_plural": "audit events in the outbox",
            },
        ),
        migrations.CreateModel(
            name="AuditFlood",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("lane", models.TextField()),
                ("routing_key", models.CharField(max_length=255)),
                ("payload", models.TextField()),
                ("seen", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="AuditRelay",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255)),
                ("process_id", models.PositiveIntegerField()),
                ("is_embedded", models.BooleanField()),
                ("state", models.CharField(max_length=16)),
                ("failure", models.TextField()),
                ("failed_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="AuditDeferred",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(verbose_name="event ID")),
                ("shard", models.SmallIntegerField(verbose_name="shard")),
                ("routing_key", models.CharField(max_length=255, verbose_name="routing key")),
                ("payload", models.TextField(verbose_name="payload")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                (
                    "state",
                    models.CharField(
                        choices=[("retry", "will be retried"), ("parked", "needs manual action")],
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("reason", models.CharField(max_length=32, verbose_name="reason")),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt at")),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "deferred audit event",
                "verbose_name_plural": "deferred audit events",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "retry")),
                        fields=["next_attempt_at"],
                        name="authkit_deferred_to_retry",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BlacklistedToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("token", models.CharField(max_length=500)),
                (
                    "blacklisted_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="blacklisted at"),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "blacklisted token",
                "verbose_name_plural": "blacklisted tokens",
                "indexes": [models.Index(fields=["blacklisted_at"], name="authkit_blacklist_by_time")],
                "constraints": [
                    models.UniqueConstraint(fields=("token",), name="authkit_blacklist_token"),
                    models.CheckConstraint(
                        condition=models.Q(("token__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_blacklist_digest",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ThrottleBucket",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("rule", models.CharField(max_length=40)),
                ("hits", models.PositiveIntegerField()),
                ("allowed", models.PositiveIntegerField()),
                ("resets_at", models.DateTimeField()),
                ("announced", models.BooleanField(default=False)),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "rate limit bucket",
                "verbose_name_plural": "rate limit buckets",
                "indexes": [models.Index(fields=["resets_at"], name="authkit_throttle_by_reset")],
            },
        ),
        migrations.CreateModel(
            name="EmailAddress",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("email", models.CharField(max_length=254, verbose_name="email address")),
                ("canonical", models.CharField(max_length=254, verbose_name="canonical spelling")),
                ("verified_at", models.DateTimeField(blank=True, null=True, verbose_name="verified at")),
                ("registered_at", models.DateTimeField(blank=True, null=True, verbose_name="registered at")),
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="authkit_email",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "email address",
                "verbose_name_plural": "email addresses",
                "indexes": [
                    models.Index(
                        condition=models.Q(("verified_at", None)), fields=["id"], name="authkit_email_waiting"
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("canonical",), name="authkit_email_canonical")],
            },
        ),
        migrations.CreateModel(
            name="OneTimeToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("verify_email", "verify the email address"),
                            ("reset_password", "reset the password"),
                            ("change_email", "change the email address"),
                        ],
                        max_length=20,
                    ),
                ),
                ("email", models.CharField(max_length=254)),
                ("digest", models.CharField(max_length=500)),
                ("auth_hash", models.CharField(max_length=100)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "one-time token",
                "verbose_name_plural": "one-time tokens",
                "indexes": [
                    models.Index(fields=["expires_at"], name="authkit_one_time_by_expiry"),
                    models.Index(fields=["user", "purpose"], name="authkit_one_time_by_user"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="authkit_one_time_token"),
                    models.CheckConstraint(
                        condition=models.Q(("digest__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_one_time_digest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("auth_hash__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_one_time_auth_digest",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PromisedEmail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("verify_email", "Verify Email"),
                            ("reset_password", "Reset Password"),
                            ("change_email", "Change Email"),
                            ("account_exists", "Account Exists"),
                            ("password_changed", "Password Changed"),
                            ("email_change_requested", "Email Change Requested"),
                            ("email_changed", "Email Changed"),
                        ],
                        max_length=30,
                    ),
                ),
                ("address", models.TextField(blank=True)),
                ("page", models.TextField(blank=True)),
                ("auth_hash", models.CharField(max_length=100)),
                ("language", models.CharField(blank=True, max_length=35)),
                ("client", models.JSONField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("given_up", "Given Up"), ("refused", "Refused")],
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField()),
                ("last_error", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("retry_until", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "promised email",
                "verbose_name_plural": "promised emails",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")), fields=["due_at"], name="authkit_email_due"
                    ),
                    models.Index(
                        condition=models.Q(("kind", "change_email")), fields=["user"], name="authkit_email_changes"
                    ),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", False)),
                        fields=["ended_at"],
                        name="authkit_email_ended",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("auth_hash__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_email_auth_digest",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ShadowRegistration",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("canonical", models.CharField(max_length=254)),
                ("username", models.CharField(blank=True, max_length=255)),
                ("held", models.JSONField(default=dict)),
                ("password", models.CharField(max_length=255)),
                ("registered_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "rejected registration",
                "verbose_name_plural": "rejected registrations",
                "indexes": [
                    models.Index(fields=["canonical"], name="authkit_shadow_by_address"),
                    models.Index(fields=["username"], name="authkit_shadow_by_username"),
                    models.Index(fields=["registered_at"], name="authkit_shadow_by_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserSession",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("login_time", models.DateTimeField(default=django.utils.timezone.now, verbose_name="login time")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("logout_time", models.DateTimeField(blank=True, null=True, verbose_name="logout time")),
                (
                    "end_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("logout", "logged out"),
                            ("replaced", "replaced by another login"),
                            ("revoked", "revoked"),
                            ("reused", "refresh token reused"),
                            ("password_changed", "password changed"),
                            ("email_changed", "email address changed"),
                            ("expired", "expired"),
                        ],
                        max_length=20,
                        verbose_name="end reason",
                    ),
                ),
                ("slot", models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="slot")),
                ("refresh_token", models.CharField(max_length=500)),
                ("generation", models.PositiveIntegerField(default=0, verbose_name="generation")),
                ("refreshed_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="refreshed at")),
                ("refresh_expires_at", models.DateTimeField(verbose_name="refresh token expires at")),
                ("expires_at", models.DateTimeField(verbose_name="expires at")),
                ("auth_hash", models.CharField(max_length=100)),
                ("ip_address", models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address")),
                ("user_agent", models.CharField(blank=True, max_length=256, verbose_name="user agent")),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "indexes": [
                    models.Index(fields=["user", "-login_time"], name="authkit_session_by_user"),
                    models.Index(fields=["expires_at"], name="authkit_session_by_expiry"),
                    models.Index(
                        fields=["logout_time"],
                        condition=models.Q(logout_time__isnull=False),
                        name="authkit_session_by_end",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_active", True)),
                        fields=("user", "slot"),
                        name="authkit_one_active_session_per_slot",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refresh_token__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_session_token_digest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("auth_hash__regex", "^v1\\$[0-9a-f]{8}\\$[0-9a-f]{64}$")),
                        name="authkit_session_auth_digest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_active", True), ("logout_time", None)),
                            models.Q(("is_active", False), ("logout_time__isnull", False)),
                            _connector="OR",
                        ),
                        name="authkit_session_ended_has_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refresh_expires_at__lte", models.F("expires_at"))),
                        name="authkit_session_idle_before_absolute",
                    ),
                ],
            },
        ),
        migrations.RunPython(migrations.RunPython.noop, drop_index_of_addresses, hints={"model_name": "usersession"}),
        # The hint is for routers that decide by the model.
        migrations.RunSQL(TEND_OUTBOX, migrations.RunSQL.noop, hints={"model_name": "auditoutbox"}),
        migrations.RunSQL(INDEX_HELD_VALUES, migrations.RunSQL.noop, hints={"model_name": "shadowregistration"}),
    ]
