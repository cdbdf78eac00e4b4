"""Promised emails: what is to be emailed, stored in the transaction of the action that it is about."""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings as django_settings
from django.db import connections, models
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.users import account_state
from ninja_auth_kit.tenancy import is_outside_tenants, tenant_of, tenants
from ninja_auth_kit.tokens.digests import DIGEST_PATTERN, is_password_fingerprint, password_fingerprint

# All times are those of the database, because the clocks of several machines differ.

# Insert rows. The process that inserts a row sends its email; after 5 seconds any other may.
INSERT = """
INSERT INTO {table} (
    kind, user_id, address, page, auth_hash, language, client, state, attempts, last_error, created_at, due_at,
    retry_until
) VALUES {rows} RETURNING id
"""
_VALUES = """(
    %s, %s, %s, %s, %s, %s, %s::jsonb, 'waiting', 0, '', clock_timestamp(), clock_timestamp() + interval '5 seconds',
    clock_timestamp() + interval '24 hours'
)"""

# Delete the links to a new address that wait for a user, because a newer one replaces them. It is a
# part of the statement that inserts that, so that it costs no round trip. There is an index for it.
SUPERSEDE = "WITH superseded AS (DELETE FROM {table} WHERE user_id = %s AND kind = 'change_email')"

# Claim a row: no other process sends its email in the next two minutes. It is a lease and not a
# lock, because no transaction may be open while the mail server is waited for. If the process is
# killed, the email is sent when the lease is over.
CLAIM = """
UPDATE {table} SET attempts = attempts + 1, due_at = clock_timestamp() + interval '2 minutes'
WHERE {which} RETURNING *
"""
_IS_NEW = "id = %s AND attempts = 0 AND state = 'waiting'"
_IS_DUE = "state = 'waiting' AND due_at <= clock_timestamp()"
# SKIP LOCKED: two processes that claim at the same time get different rows.
_NEXT_DUE = f"id = (SELECT id FROM {{table}} WHERE {_IS_DUE} ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)"  # noqa: S608

# Put an email off: 5 seconds doubled with each attempt, up to 10 minutes. After `retry_until` it is
# given up. Nothing changes if another process has claimed the row since.
PUT_OFF = """
UPDATE {table} SET
    last_error = %(error)s,
    state = CASE WHEN %(refused)s THEN 'refused' WHEN retry_until <= clock_timestamp() THEN 'given_up' ELSE state END,
    ended_at = CASE WHEN %(refused)s OR retry_until <= clock_timestamp() THEN clock_timestamp() END,
    due_at = clock_timestamp() + least(interval '5 seconds' * 2 ^ least(attempts - 1, 10), interval '10 minutes')
WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'waiting' RETURNING state
"""

# Try emails again that were given up, for another day.
REQUEUE = """
UPDATE {table} SET state = 'waiting', ended_at = NULL, due_at = clock_timestamp(),
    retry_until = clock_timestamp() + interval '24 hours'
WHERE state <> 'waiting' RETURNING id
"""

# Count the emails by state, each with the age of the oldest: since it was promised, or put back by an
# operator.
COUNT = """
SELECT state, attempts > 0, count(*),
    extract(epoch FROM clock_timestamp() - (min(retry_until) - interval '24 hours'))::float8
FROM {table} GROUP BY 1, 2
"""


class EmailKind(models.TextChoices):
    """What an email is about. The template has the same name."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105  # a kind
    CHANGE_EMAIL = "change_email"
    ACCOUNT_EXISTS = "account_exists"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a kind
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_CHANGED = "email_changed"


@dataclass(frozen=True)
class NewEmail:
    """An email to promise.

    Attributes:
        kind: what it is about: an `EmailKind`, or a kind of a feature.
        user: the account that it is about; or None, if the email goes to `address`, or if none will be sent.
        client: the client of the request, whose rate limits apply, or None for an administrator.
        address: an address that is not, or may soon not be, the present one of the account.
        page: the URL that the link opens, or something else that its sender needs.
        account: what must not have changed when the email is sent, such as the password hash. Only
            a keyed digest of it is stored.
    """

    kind: models.TextChoices
    user: Any | None
    client: ClientInfo | None
    address: str = ""
    page: str = ""
    account: str = ""


@dataclass(frozen=True)
class EmailHealth:
    """How many promised emails wait.

    Attributes:
        waiting: the number of emails that no process has tried to send yet.
        retrying: the number of emails that could not be sent and are tried again.
        oldest_seconds: how long the oldest of both has waited.
        given_up: the number of emails that could not be sent for a day.
        refused: the number of emails whose recipient the mail server refused for good.
    """

    waiting: int = 0
    retrying: int = 0
    oldest_seconds: float = 0.0
    given_up: int = 0
    refused: int = 0


class PromisedEmailManager(PrimaryManager["PromisedEmail"]):
    """Store, claim and settle promised emails, with one statement each."""

    def add(self, promised: Sequence[NewEmail], *, supersede_changes_of: Any | None = None) -> list[int]:
        """Store emails in the open transaction, and return the ids of the rows.

        Args:
            promised: the emails.
            supersede_changes_of: delete the links to a new address that wait for this user.
        """
        connection = connections[accounts_database()]
        field = self.model._meta.get_field("user")
        language = translation.get_language() or ""
        values: list[Any] = []
        statement = INSERT
        if supersede_changes_of is not None:
            statement = SUPERSEDE + INSERT
            values.append(field.get_db_prep_save(supersede_changes_of.pk, connection))
        for new in promised:
            client = None if new.client is None else json.dumps(asdict(new.client))
            pk = None if new.user is None else new.user.pk
            auth_hash = password_fingerprint(_binding(new.kind, pk, new.address, new.page, new.account))
            key = field.get_db_prep_save(pk, connection)
            values += [new.kind.value, key, new.address, new.page, auth_hash, language[:35], client]
        rows = ", ".join([_VALUES] * len(promised))
        with connection.cursor() as cursor:
            cursor.execute(statement.format(table=self._table(), rows=rows), values)
            return [id for (id,) in cursor.fetchall()]

    def claim_new(self, id: int) -> "PromisedEmail | None":
        """Claim an email that this process has promised, unless another process was faster."""
        return self._claim(_IS_NEW, [id])

    def claim_due(self) -> "PromisedEmail | None":
        """Claim the email that is due for the longest time, or return None."""
        return self._claim(_NEXT_DUE, [])

    def has_due(self) -> bool:
        """Return whether an email is due that the process that promised it has not sent."""
        return bool(self._execute(f"SELECT EXISTS (SELECT FROM {{table}} WHERE {_IS_DUE})")[0][0])  # noqa: S608

    def is_due_in(self, schema: str) -> str:
        """Return a condition: whether an email is due in a schema.

        Args:
            schema: the quoted name.
        """
        return f"EXISTS (SELECT FROM {schema}.{self._table()} WHERE {_IS_DUE})"

    def is_kept(self, promised: "PromisedEmail") -> bool:
        """Lock a row until the transaction ends, and return whether it still exists."""
        return self.select_for_update().filter(pk=promised.pk).values_list("pk").first() is not None

    def remove(self, promised: "PromisedEmail") -> None:
        """Delete a row, because its email was sent or none is to be sent."""
        self._execute("DELETE FROM {table} WHERE id = %(id)s", {"id": promised.pk})

    def put_off(self, promised: "PromisedEmail", *, error: str, is_refused: bool) -> str:
        """Try an email again later, or give it up, and return its state.

        Args:
            promised: the email, as this process has claimed it.
            error: what happened, without an address.
            is_refused: whether the mail server has refused the recipient for good.
        """
        values = {"id": promised.pk, "attempts": promised.attempts, "error": error[:200], "refused": is_refused}
        found = self._execute(PUT_OFF, values)
        return str(found[0][0]) if found else PromisedEmail.State.WAITING.value

    def rebind_to_new_hash(self, *, before: Any, after: Any) -> None:
        """Keep promised links under a new hash of the same password.

        Args:
            before: the user with the former hash; locked.
            after: the same user with the new one.
        """
        bound = {EmailKind.VERIFY_EMAIL: _password_of, EmailKind.CHANGE_EMAIL: account_state}
        for row in self.filter(user=before, kind__in=bound):
            account = bound[EmailKind(row.kind)]
            if row.is_bound_to(account(before)):
                binding = _binding(row.kind, row.user_id, row.address, row.page, account(after))
                self.filter(pk=row.pk).update(auth_hash=password_fingerprint(binding))

    def requeue(self) -> int:
        """Try the emails again that were given up or refused, and return how many there are."""
        return len(self._execute(REQUEUE))

    def health(self, *, using: str) -> EmailHealth:
        """Return how many emails wait in a database: of all tenants, if the connection is not in one of them."""
        connection = connections[using]
        counts = {"waiting": 0, "retrying": 0, "given_up": 0, "refused": 0}
        oldest = 0.0
        for state, is_tried, count, seconds in self._counts(connection):
            is_waiting = state == PromisedEmail.State.WAITING
            counts["retrying" if is_waiting and is_tried else state] += count
            oldest = max(oldest, seconds) if is_waiting else oldest
        return EmailHealth(**counts, oldest_seconds=oldest)

    def _counts(self, connection: Any) -> Iterator[tuple[Any, ...]]:
        for tenant in tenants(connection) if is_outside_tenants(connection) else [None]:
            chosen = nullcontext() if tenant is None else tenant_of(connection, tenant)
            with chosen, connection.cursor() as cursor:
                cursor.execute(COUNT.format(table=self._table()))
                yield from cursor.fetchall()

    def _claim(self, which: str, values: list[Any]) -> "PromisedEmail | None":
        statement = CLAIM.format(table=self._table(), which=which.format(table=self._table()))
        return next(iter(self.raw(statement, values)), None)

    def _execute(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute(statement.format(table=self._table()), values)
            return list(cursor.fetchall()) if cursor.description else []

    def _table(self) -> str:
        return connections[accounts_database()].ops.quote_name(self.model._meta.db_table)


class PromisedEmail(models.Model):
    """An email that was promised in a response and is not sent yet.

    A row is stored for every request that promises an email, whether or not one will be sent: the
    response must not reveal that. It is deleted when the email was sent, usually within two
    seconds. It has neither a token nor a link: the token is made when the email is sent.

    There is no foreign key to the user in the database, because PostgreSQL would check it only for
    requests that concern an account.

    Attributes:
        user: the account, or None.
        address: an address that is not, or may soon not be, the present one of the account, or "".
        page: the URL that the link opens, or something else that the sender of its kind needs, or "".
        auth_hash: a keyed digest of the row and of the state of the account. An attacker who can
            write to the database, but has no key, cannot cause an email with another link or to
            another address.
        client: the client of the request, for its rate limits, or None.
        attempts: how many times a process began to send the email.
        due_at: when any process may send it.
        retry_until: when it is given up.
        last_error: the class of the last exception, without its text, which may have an address.
        ended_at: when it was given up or refused, or None.
    """

    class State(models.TextChoices):
        """Whether the email will still be sent."""

        WAITING = "waiting"
        GIVEN_UP = "given_up"
        REFUSED = "refused"

    kind = models.CharField(max_length=30)  # without choices, because features have kinds of their own
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    address = models.TextField(blank=True)
    page = models.TextField(blank=True)
    auth_hash = models.CharField(max_length=100)
    language = models.CharField(max_length=35, blank=True)
    client = models.JSONField(null=True)
    state = models.CharField(max_length=10, choices=State)
    attempts = models.PositiveIntegerField()
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    retry_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = PromisedEmailManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("promised email")
        verbose_name_plural = _("promised emails")
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="waiting"), name="authkit_email_due"),
            models.Index(fields=["user"], condition=models.Q(kind="change_email"), name="authkit_email_changes"),
            models.Index(fields=["ended_at"], condition=models.Q(ended_at__isnull=False), name="authkit_email_ended"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(auth_hash__regex=DIGEST_PATTERN), name="authkit_email_auth_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    def is_bound_to(self, account: str = "") -> bool:
        """Return whether the row is as it was stored, and the account has not changed since.

        Args:
            account: the `NewEmail.account` that the account has now.
        """
        binding = _binding(self.kind, self.user_id, self.address, self.page, account)
        return is_password_fingerprint(self.auth_hash, binding)

    def first_client(self) -> ClientInfo | None:
        """Return the client whose rate limits apply to this attempt.

        It is None for an administrator, and after the first attempt: an email counts once.
        """
        return None if self.client is None or self.attempts > 1 else ClientInfo(**self.client)


def _password_of(user: Any) -> str:
    return str(user.password)


def _binding(kind: str, key: Any, address: str, page: str, account: str) -> str:
    return "\n".join(["promised email", str(kind), str(key), address, page, account])
