"""The identities of a user who is logged in: list, link and unlink them."""

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
from ninja_auth_kit.services.account import lock_unchanged


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


def link_identity(*, session: UserSession, flow: Flow, proved: ProvedIdentity, client: ClientInfo) -> Identity:
    """Link an identity to the account of a session, and return it. The owner gets an email.

    Args:
        session: the session of the user, who has been authenticated lately.
        flow: the flow that is used up.
        proved: what the provider has proved.
        client: the client of the request.

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


def unlink_identity(*, user: Any, identity_id: UUID, client: ClientInfo) -> None:
    """Unlink an identity of a user. The owner gets an email.

    Raises:
        IdentityNotFoundError: the user has no such identity.
        LastIdentityError: the user could not log in any more.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        current = lock_unchanged(user)
        row = Identity.objects.filter(pk=identity_id, user=current.pk).first()
        if row is None:
            raise IdentityNotFoundError
        _delete(row, current, client=client)
        if not current.has_usable_password() and not features.has_way_in(current):
            raise LastIdentityError


def _delete(row: Identity, user: Any, *, client: ClientInfo | None, **actor: str) -> bool:
    if not Identity.objects.filter(pk=row.pk).delete()[0]:
        return False
    signals.identity_unlinked.announce(user=user, client=client, provider=row.provider, **actor)
    promise_notice(IdentityEmail.IDENTITY_UNLINKED, user, client, provider=row.provider)
    return True


def unlink_selected_identities(*, rows: list[Identity], client: ClientInfo, **actor: str) -> set[UUID]:
    """Unlink identities, each in a transaction of its own, and return the ids of those that existed.

    An administrator may unlink the last way in: somebody else may have linked the identity.

    Args:
        rows: the identities, of any users.
        client: the client of the request.
        actor: who unlinks them, for the audit events: see `admin_actions.by_admin`.
    """
    unlinked: set[UUID] = set()
    for row in rows:
        with atomic():
            if _delete(row, row.user, client=client, **actor):
                unlinked.add(row.pk)
    return unlinked
