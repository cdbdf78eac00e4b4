"""Sessions: one row for each login on one device.

A token is valid only as long as its row says so. The JWT alone never decides (ASVS 7.4.1).
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.db import connections, models
from django.db.models.expressions import DatabaseDefault
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.levels import Authentication
from ninja_auth_kit.models.compiled_query import array, from_database, to_database
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.session_sql import (
    END,
    FIELDS_OF_CHECK,
    FIELDS_OF_LEVEL,
    ROTATE,
    START,
    active_query,
    read_session,
    read_sessions,
    with_tables,
)
from ninja_auth_kit.models.users import lock_user_and_read, may_authenticate
from ninja_auth_kit.tokens import (
    DIGEST_PATTERN,
    is_password_fingerprint,
    password_fingerprint,
    password_fingerprints,
)


class EndReason(models.TextChoices):
    """Why a session ended."""

    LOGOUT = "logout", _("logged out")
    REPLACED = "replaced", _("replaced by another login")
    REVOKED = "revoked", _("revoked")
    REUSED = "reused", _("refresh token reused")
    PASSWORD_CHANGED = "password_changed", _("password changed")  # a reason, not a password
    EMAIL_CHANGED = "email_changed", _("email address changed")
    EXPIRED = "expired", _("expired")


class EndedSession(NamedTuple):
    """A session that `UserSession.objects.end` has ended, and its user."""

    id: uuid.UUID
    user_id: Any


class UserSessionManager(PrimaryManager["UserSession"]):
    """Load, start, rotate and end sessions."""

    def load(self, session_id: uuid.UUID) -> "UserSession | None":
        """Return a session with its user, or None, with one query that uses an index."""
        return read_session(session_id, alias=accounts_database())

    def load_for_check(
        self, session_id: uuid.UUID, *, with_email: bool = False, with_level: bool = False
    ) -> "UserSession | None":
        """Return a session with its user, or None, with only the fields that say whether it is valid.

        This runs on every authenticated request.

        Args:
            session_id: the id of the session.
            with_email: whether to load `user.authkit_email` with the same query.
            with_level: whether to load the fields that `UserSession.confirms` reads.
        """
        fields = FIELDS_OF_LEVEL if with_level else FIELDS_OF_CHECK
        return read_session(session_id, alias=accounts_database(), with_email=with_email, fields=fields)

    def load_for_checks(
        self, session_ids: Sequence[uuid.UUID], *, with_email: bool = False, with_level: bool = False
    ) -> "list[Callable[[], UserSession] | None]":
        """Load what `load_for_check` loads for several sessions, with one query, and return a function for each.

        Args:
            session_ids: their ids.
            with_email: as there.
            with_level: as there.
        """
        fields = FIELDS_OF_LEVEL if with_level else FIELDS_OF_CHECK
        return read_sessions(session_ids, alias=accounts_database(), with_email=with_email, fields=fields)

    def active_for(self, user: Any) -> "list[UserSession]":
        """Return the sessions of a user that are marked active, valid or not, the oldest first."""
        query = active_query(accounts_database())
        return [session for (session,) in query.fetch(owner=user.pk)]

    def lock_user_and_read_active(self, pk: Any) -> "tuple[Any | None, list[UserSession]]":
        """Lock a user, and read the active sessions in the same round trip; see `users.lock_user` and `active_for`."""
        user, (rows,) = lock_user_and_read(pk, active_query(accounts_database()), owner=pk)
        return user, [session for (session,) in rows]

    def start(self, session: "UserSession", *, ending: Mapping[uuid.UUID, EndReason]) -> set[uuid.UUID]:
        """Store a new session and end others, and return the ids of those that were still active.

        The signals of `save` are not sent: `signals.logged_in` announces the session.

        Args:
            session: the session.
            ending: the ids of the sessions to end, with their reasons. Their refresh tokens are blacklisted.
        """
        connection = connections[accounts_database()]
        given = {
            field.column: to_database(field, getattr(session, field.attname), connection)
            for field in UserSession._meta.concrete_fields
            if not isinstance(getattr(session, field.attname), DatabaseDefault)
        }
        columns = ", ".join(connection.ops.quote_name(str(column)) for column in given)
        sql = with_tables(START, columns=columns, values=", ".join(f"%(new_{column})s" for column in given))
        values: dict[str, Any] = {f"new_{column}": value for column, value in given.items()}
        reasons = [reason.value for reason in ending.values()]
        values |= {"now": timezone.now(), "ids": array(ending), "reasons": reasons}
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            ended = {pk for (pk,) in cursor.fetchall()}
        session._state.adding, session._state.db = False, connection.alias
        return ended

    def rotate(self, session: "UserSession", *, token: str, now: datetime, refresh_expires_at: datetime) -> bool:
        """Move a session to its next generation, and return whether it was moved.

        It is changed in the database and in memory. If several callers rotate the same generation,
        exactly one of them gets True.

        Args:
            session: the session as it was read. It is not moved if its row has changed since, or if
                its refresh token is blacklisted.
            token: the digest of the new refresh token under the current root secret. `auth_hash` is
                moved to that root as well.
            now: the time of the rotation.
            refresh_expires_at: when the new refresh token expires.
        """
        changes: dict[str, Any] = {
            "generation": session.generation + 1,
            "refresh_token": token,
            "refreshed_at": now,
            "refresh_expires_at": refresh_expires_at,
            "auth_hash": password_fingerprint(session.user.password),
        }
        read = {f"read_{name}": getattr(session, name) for name in ("generation", "refresh_token", "auth_hash")}
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute(with_tables(ROTATE), {**changes, **read, "id": session.pk})
            if cursor.rowcount != 1:
                return False
        for name, value in changes.items():
            setattr(session, name, value)
        return True

    def end(
        self,
        *,
        reason: EndReason,
        ids: list[uuid.UUID] | None = None,
        user_id: Any = None,
        except_id: uuid.UUID | None = None,
    ) -> list[EndedSession]:
        """End active sessions, blacklist their refresh tokens, and return those that were ended.

        A session that has ended before is not returned, so each session is returned to exactly one
        caller.

        Args:
            reason: the reason to record.
            ids: the ids of the sessions to end. With `user_id` as well, only those that belong to
                the user.
            user_id: end the sessions of this user.
            except_id: the id of a session that must not end.

        Raises:
            ValueError: neither `ids` nor `user_id` is given.
        """
        if ids is None and user_id is None:
            raise ValueError("end() needs ids, user_id, or both")
        connection = connections[accounts_database()]
        owner = UserSession._meta.get_field("user")
        sql = with_tables(END, of_user="" if user_id is None else "AND user_id = %(user_id)s")
        values = {
            "now": timezone.now(),
            "reason": reason.value,
            "ids": None if ids is None else array(ids),
            "user_id": None if user_id is None else to_database(owner, user_id, connection),
            "except_id": except_id,
        }
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return [EndedSession(pk, from_database(owner, key, connection)) for pk, key in cursor.fetchall()]

    def update_auth_hash(self, *, user: Any, old: str, new: str, only: uuid.UUID | None = None) -> int:
        """Keep a user's active sessions valid under a new password hash, and return their number.

        Args:
            user: the user; locked.
            old: the password hash before the change.
            new: the password hash after the change.
            only: the id of the one session to keep, instead of all.
        """
        sessions = self.filter(user=user, is_active=True, auth_hash__in=password_fingerprints(old))
        chosen = sessions if only is None else sessions.filter(pk=only)
        return chosen.update(auth_hash=password_fingerprint(new))


class UserSession(models.Model):
    """One login of one user on one device.

    Attributes:
        id: the `sid` claim of its access tokens.
        slot: a number from 0 to `SESSION_LIMIT` - 1, or None if sessions are not limited. The
            database refuses a second active session of the user in the same slot, which enforces
            the limit.
        refresh_token: the keyed digest of the current refresh token, never the token.
        generation: how often the refresh token was rotated.
        refreshed_at: the time of the last rotation, or of the login.
        refresh_expires_at: the idle limit. A refresh moves it.
        expires_at: the absolute limit. It never moves.
        auth_hash: a fingerprint of the user's password hash. After a change of the password, the
            session is not valid any more.
        amr: the methods of the login, separated by spaces: see `levels.METHODS`.
        aal: the level of the login, 1 or 2. It falls to 1 when the user removes the last second factor.
        authenticated_at: when the login was authenticated, or None for the time of the login.
        step_up_at: when a second factor was last proved in this session, or None.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="sessions",
        db_index=False,  # the index below begins with it
        db_constraint=False,
    )
    login_time = models.DateTimeField(_("login time"), default=timezone.now)
    is_active = models.BooleanField(_("active"), default=True)
    logout_time = models.DateTimeField(_("logout time"), null=True, blank=True)
    end_reason = models.CharField(_("end reason"), max_length=20, choices=EndReason, blank=True)
    # Translators: which of the places that a user has for sessions; a number.
    slot = models.PositiveSmallIntegerField(_("slot"), null=True, blank=True)
    refresh_token = models.CharField(max_length=500)
    # Translators: how often the refresh token has been rotated; a number.
    generation = models.PositiveIntegerField(_("generation"), default=0)
    refreshed_at = models.DateTimeField(_("refreshed at"), default=timezone.now)
    refresh_expires_at = models.DateTimeField(_("refresh token expires at"))
    expires_at = models.DateTimeField(_("expires at"))
    auth_hash = models.CharField(max_length=100)
    # Defaults of the database, because processes of an older version insert rows during a rolling deploy.
    amr = models.CharField(_("methods"), max_length=64, db_default="pwd")
    aal = models.PositiveSmallIntegerField(_("level"), db_default=1)
    authenticated_at = models.DateTimeField(_("authenticated at"), null=True, blank=True)
    step_up_at = models.DateTimeField(_("step-up at"), null=True, blank=True)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)

    objects = UserSessionManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        indexes = [
            models.Index(fields=["user", "-login_time"], name="authkit_session_by_user"),
            # Not by a column that a refresh changes: so a refresh writes to no index, and the row
            # stays on its page.
            models.Index(fields=["expires_at"], name="authkit_session_by_expiry"),
            models.Index(
                fields=["logout_time"], condition=models.Q(logout_time__isnull=False), name="authkit_session_by_end"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "slot"],
                condition=models.Q(is_active=True),
                name="authkit_one_active_session_per_slot",
            ),
            models.CheckConstraint(
                condition=models.Q(refresh_token__regex=DIGEST_PATTERN), name="authkit_session_token_digest"
            ),
            models.CheckConstraint(
                condition=models.Q(auth_hash__regex=DIGEST_PATTERN), name="authkit_session_auth_digest"
            ),
            models.CheckConstraint(
                condition=models.Q(is_active=True, logout_time=None)
                | models.Q(is_active=False, logout_time__isnull=False),
                name="authkit_session_ended_has_time",
            ),
            # A check of a session reads only the idle limit.
            models.CheckConstraint(
                condition=models.Q(refresh_expires_at__lte=models.F("expires_at")),
                name="authkit_session_idle_before_absolute",
            ),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def authentication(self) -> Authentication:
        """How the login was authenticated. A refresh does not change it (RFC 9068 section 2.2.1)."""
        time = self.authenticated_at or self.login_time
        # Without "mfa" if the level has fallen since, because the user has removed the last second factor.
        methods = tuple(method for method in self.amr.split() if method != "mfa" or self.aal == 2)
        return Authentication(f"aal{self.aal}", methods, int(time.timestamp()))

    def confirms(self, proved: Authentication) -> bool:
        """Return whether the session has level 2 from an authentication at that time, or from a later one."""
        of_login = self.aal == 2 and self.authentication.time >= proved.time
        return of_login or (self.step_up_at is not None and int(self.step_up_at.timestamp()) >= proved.time)

    def is_valid(self) -> bool:
        """Return whether the session is active, its user may log in, and the password is the same.

        It does not look at the expiry, see `has_expired`.
        """
        user = self.user
        return self.is_active and is_password_fingerprint(self.auth_hash, user.password) and may_authenticate(user)

    def has_expired(self, now: datetime) -> bool:
        """Return whether the idle or the absolute limit has passed."""
        return now >= self.refresh_expires_at  # a constraint: it is never after `expires_at`
