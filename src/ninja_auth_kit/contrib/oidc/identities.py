"""The identities of a user who is logged in: list, link and unlink them."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from ninja_auth_kit import features
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.oidc import signals
from ninja_auth_kit.contrib.oidc.claims import ProvedIdentity
from ninja_auth_kit.contrib.oidc.exceptions import (
    IdentityNotFoundError,
    IdentityTakenError,
    InvalidFlowError,
    LastIdentityError,
)
from ninja_auth_kit.contrib.oidc.flows import Flow
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.notices import IdentityEmail, promise_notice
from ninja_auth_kit.contrib.oidc.providers import providers
from ninja_auth_kit.exceptions import SessionEndedError
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.finish_login import announce_end

METHOD = "fed"  # of a session that began at a provider: see `levels.METHODS`

Actor = Mapping[str, str]  # what a signal says of who acts, if it is not the owner
_OWNER: Actor = {}


def list_identities(user: Any) -> list[Identity]:
    """Return the identities of a user, the oldest first."""
    return list(Identity.objects.of_user(user.pk))


def has_way_in(user: Any) -> bool:
    """Return whether a user can log in with an identity: one of a provider that is still configured."""
    known = providers().values()
    return any(
        row.is_genuine and any(one.is_issuer(row.issuer) for one in known) for row in Identity.objects.of_user(user.pk)
    )


def step_up_methods(user: Any) -> tuple[str, ...]:
    """Return "provider" if a user has an identity whose provider can say when the user was authenticated."""
    known = [one for one in providers().values() if one.is_openid]
    rows = Identity.objects.of_user(user.pk)
    return ("provider",) if any(one.is_issuer(row.issuer) for row in rows for one in known) else ()


def link_identity(
    *,
    session: UserSession,
    flow: Flow,
    proved: ProvedIdentity,
    client: ClientInfo,
    require_fresh: Callable[[], None],
) -> Identity:
    """Link an identity to the account of a session, and return it. The owner gets an email.

    Args:
        session: the session of the user, who has been authenticated lately.
        flow: the flow that is used up.
        proved: what the provider has proved.
        client: the client of the request.
        require_fresh: raises an error unless the user was authenticated lately and well enough. It was called before;
            a second factor may have been added since.

    Raises:
        IdentityTakenError: the identity belongs to another account, or the account has another one of the issuer. One
            that is linked already is returned as it is.
        InvalidFlowError: the flow was used.
        SessionEndedError: the session ended, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        user = lock_unchanged(session.user)
        # Again under the lock: `authkit_revoke` may have ended the session.
        if not UserSession.objects.filter(pk=session.pk, is_active=True).exists():
            raise SessionEndedError
        require_fresh()
        if not SpentTicket.objects.spend(flow.ticket):
            raise InvalidFlowError
        row = add_identity(user, flow.provider.id, proved, client=client)
        if row is None:
            return _linked_already(user, proved)
        promise_notice(IdentityEmail.IDENTITY_LINKED, user, client, provider=flow.provider.id)
    return row


def _linked_already(user: Any, proved: ProvedIdentity) -> Identity:
    row = Identity.objects.load(issuer=proved.issuer, subject=proved.subject)
    if row is None or row.user_id != user.pk or not row.is_genuine:
        raise IdentityTakenError
    return row


def add_identity(user: Any, provider: str, proved: ProvedIdentity, *, client: ClientInfo) -> Identity | None:
    """Store an identity of a locked user in the open transaction, and return it; None if there is one already."""
    row = Identity.sealed(
        user=user, provider=provider, issuer=proved.issuer, subject=proved.subject, email=proved.email
    )
    if not Identity.objects.add(row):
        return None
    signals.identity_linked.announce(user=user, client=client, provider=provider)
    return row


def unlink_identity(*, session: UserSession, identity_id: UUID, client: ClientInfo) -> None:
    """Unlink an identity of the user of a session. The owner gets an email.

    The other sessions that began at a provider end: somebody else may have logged in with this identity.

    Raises:
        IdentityNotFoundError: the user has no such identity.
        LastIdentityError: the user could not log in any more.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        current = lock_unchanged(session.user)
        row = Identity.objects.filter(pk=identity_id, user=current.pk).first()
        if row is None:
            raise IdentityNotFoundError
        _delete(row, current, client=client, own=session.pk)
        if not current.has_usable_password() and not features.has_way_in(current):
            raise LastIdentityError


def _delete(row: Identity, user: Any, *, client: ClientInfo, own: UUID | None = None, actor: Actor = _OWNER) -> bool:
    if not Identity.objects.filter(pk=row.pk).delete()[0]:
        return False
    begun = UserSession.objects.filter(user=user.pk, is_active=True, amr__contains=METHOD)
    if ids := [key for key in begun.values_list("pk", flat=True) if key != own]:
        for ended in UserSession.objects.end(reason=EndReason.REVOKED, user_id=user.pk, ids=ids):
            announce_end(user, ended.id, EndReason.REVOKED, client=client, by=actor.get("by", "user"))
    signals.identity_unlinked.announce(user=user, client=client, provider=row.provider, **actor)
    promise_notice(IdentityEmail.IDENTITY_UNLINKED, user, client, provider=row.provider)
    return True


def unlink_selected_identities(*, rows: list[Identity], client: ClientInfo, **actor: str) -> set[UUID]:
    """Unlink identities, each in a transaction of its own, and return the ids of those that existed.

    An administrator may unlink the last way in: somebody else may have linked the identity. The sessions that began at
    a provider end.

    Args:
        rows: the identities, of any users.
        client: the client of the request.
        actor: who unlinks them, for the audit events: see `admin_actions.by_admin`.
    """
    unlinked: set[UUID] = set()
    for row in rows:
        with atomic():
            if _delete(row, row.user, client=client, actor=actor):
                unlinked.add(row.pk)
    return unlinked
