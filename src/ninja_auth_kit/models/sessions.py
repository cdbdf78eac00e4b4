"""Sessions: one row per login on one device. The row decides; a JWT alone never does (ASVS 7.4.1)."""

import uuid
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.db import connections, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.compiled_query import array, from_database, prepared
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.session_sql import END, ROTATE, START, read_active, read_session, with_tables
from ninja_auth_kit.models.users import may_authenticate
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
    """A session that `UserSession.objects.end` has ended."""

    id: uuid.UUID
    user_id: Any


class UserSessionManager(PrimaryManager["UserSession"]):
    """Loading a session for a request, rotating it, and the one way in which a session ends."""

    def load(self, session_id: uuid.UUID) -> "UserSession | None":
        """Return a session with its user by one indexed query, or None."""
        return read_session(session_id, alias=accounts_database())

    def load_for_check(self, session_id: uuid.UUID, *, with_email: bool = False) -> "UserSession | None":
        """Return what of a session tells whether it counts, with its user. This runs on every authenticated request.

        Args:
            session_id: which.
            with_email: whether to load `user.authkit_email` by the same query.
        """
        return read_session(session_id, alias=accounts_database(), with_email=with_email, for_check=True)

    def active_for(self, user: Any) -> "list[UserSession]":
        """Return the rows of a user that are active, the oldest first, whether or not they still count."""
        return read_active(user, alias=accounts_database())

    def start(self, session: "UserSession") -> None:
        """Store a new session; without the signals of `save`, for those of the kit tell of it."""
        connection = connections[accounts_database()]
        values = {
            **vars(session),
            "user_id": _owner_key(session.user_id, connection),
            "ip_address": session.ip_address or None,
        }
        with connection.cursor() as cursor:
            cursor.execute(with_tables(START), values)
        session._state.adding, session._state.db = False, connection.alias

    def rotate(self, session: "UserSession", *, token: str, now: datetime, refresh_expires_at: datetime) -> bool:
        """Move a session to its next generation, in the row and in memory; of any number of callers, one gets True.

        Args:
            session: as it was read; nothing happens unless the row is still like that and not withdrawn.
            token: the digest of the new refresh token, under the current root; `auth_hash` moves there too.
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
        before = {f"before_{name}": getattr(session, name) for name in ("generation", "refresh_token", "auth_hash")}
        with connections[accounts_database()].cursor() as cursor:
            cursor.execute(with_tables(ROTATE), {**changes, **before, "id": session.pk})
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
        but: uuid.UUID | None = None,
    ) -> list[EndedSession]:
        """End active sessions and withdraw their refresh tokens.

        Whoever comes second finds nothing to end, so each session is ended by exactly one caller, who gets it back.

        Args:
            reason: what to note as the reason.
            ids: those with these ids; together with `user_id`, those of them that are the user's.
            user_id: those of this user.
            but: one that lives on.

        Raises:
            ValueError: neither ids nor a user.
        """
        if ids is None and user_id is None:
            raise ValueError("say which sessions: ids, user_id, or both")
        connection = connections[accounts_database()]
        sql = with_tables(END, of_user="" if user_id is None else "AND user_id = %(user_id)s")
        values = {
            "now": timezone.now(),
            "reason": reason.value,
            "ids": None if ids is None else array(ids),
            "user_id": None if user_id is None else _owner_key(user_id, connection),
            "but": but,
        }
        owner = UserSession._meta.get_field("user")
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return [EndedSession(pk, from_database(owner, value, connection)) for pk, value in cursor.fetchall()]

    def update_auth_hash(self, *, user: Any, old: str, new: str, only: uuid.UUID | None = None) -> int:
        """Let a user's active sessions outlive a new password hash, and return how many do.

        Args:
            user: whose; locked.
            old: the hash before.
            new: the hash now.
            only: one session, instead of all.
        """
        sessions = self.filter(user=user, is_active=True, auth_hash__in=password_fingerprints(old))
        chosen = sessions if only is None else sessions.filter(pk=only)
        return chosen.update(auth_hash=password_fingerprint(new))


def _owner_key(user_id: Any, connection: Any) -> Any:
    return prepared(UserSession, "user", user_id, connection)


class UserSession(models.Model):
    """One login of one user on one device.

    Attributes:
        id: the `sid` claim of its access tokens.
        slot: which of the user's places it takes, 0 to SESSION_LIMIT - 1; None where sessions are not limited. The
            database refuses a second active session in a slot, and that is how the limit holds.
        refresh_token: the keyed digest of the current refresh token, never a token.
        generation: how often the refresh token was rotated.
        refreshed_at: when it was rotated last, or the login.
        refresh_expires_at: the idle limit, renewed by a refresh.
        expires_at: the absolute limit, never renewed.
        auth_hash: the state of the user's password at login; another password, and the session is over.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database does, see `user_ties`
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
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)

    objects = UserSessionManager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        indexes = [
            models.Index(fields=["user", "-login_time"], name="authkit_session_by_user"),
            # By nothing that a refresh changes: so it writes to no index, and the row stays on its page.
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
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def is_live(self) -> bool:
        """Tell whether it counts: active, its user may log in, and the password is still the one it began with."""
        user = self.user
        return self.is_active and is_password_fingerprint(self.auth_hash, user.password) and may_authenticate(user)

    def has_expired(self, now: datetime) -> bool:
        """Tell whether its idle or its absolute limit has passed; the first never lies behind the second."""
        return now >= self.refresh_expires_at
