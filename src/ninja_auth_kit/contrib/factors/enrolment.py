"""Factors of a user who is logged in: add, list, rename and remove them, and renew the recovery codes."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import features
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.exceptions import FactorNotFoundError, LastWayInError, NoFactorError
from ninja_auth_kit.contrib.factors.kinds import begin_to_ask, can_log_in
from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode, RememberedDevice
from ninja_auth_kit.contrib.factors.notices import FactorEmail, promise_notice
from ninja_auth_kit.contrib.factors.recovery_codes import renew_codes
from ninja_auth_kit.exceptions import InvalidCredentialsError, SessionEndedError
from ninja_auth_kit.levels import level_of
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import lock_user
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.finish_login import Proof, announce_end, finish_login
from ninja_auth_kit.services.internal.session_tokens import TokenPair, custom_claims
from ninja_auth_kit.services.refresh import rotate_session


@dataclass(frozen=True)
class Enrolled:
    """A factor that was confirmed.

    Attributes:
        factor: its row.
        recovery_codes: the new codes, which cannot be shown again; None if the user had a factor before.
        tokens: the new tokens of the request's session, or of the one that replaces it.
    """

    factor: Factor
    recovery_codes: list[str] | None
    tokens: TokenPair

    def __repr__(self) -> str:
        return f"<Enrolled {self.factor.pk}>"


class _OthersChangedError(Exception):
    """The factor is the first one that is asked for, or is not, other than was expected."""


@sensitive_variables()
def confirm_factor(
    *, session: UserSession, method: str, confirm: Callable[[Any], Factor], request: HttpRequest, client: ClientInfo
) -> Enrolled:
    """Confirm a new factor that the user has just proved.

    With the first factor, or the first one that is asked for, all sessions end, and a new one of level 2 replaces that
    of the request. With a later one, the session of the request continues with new tokens, as after a refresh.

    Args:
        session: the session of the request, with its level.
        method: what was proved, of `levels.METHODS`; several with spaces.
        confirm: called with the locked user in the transaction. It stores the factor, or raises an exception.
        request: the request.
        client: its client.

    Raises:
        SessionEndedError: the session ended in the meantime.
        EmailNotVerifiedError: it is the first factor, and the email address is not verified any more.
    """
    is_first = session.aal == 1  # probably, and it is checked under the lock
    for _attempt in range(3):
        try:
            if is_first:
                return _confirm_first(session, method, confirm, request=request, client=client)
            return _confirm_later(session, confirm, client=client)
        except _OthersChangedError:
            is_first = not is_first
    raise SessionEndedError


@sensitive_variables()
def _confirm_first(
    session: UserSession, method: str, confirm: Callable[[Any], Factor], *, request: HttpRequest, client: ClientInfo
) -> Enrolled:
    made: dict[str, Any] = {}

    def check_again(user: Any) -> None:
        _require_same(session, user)
        before = Factor.objects.confirmed(user)
        made["factor"] = confirm(user)
        if not begin_to_ask(before.kinds.values(), [made["factor"].kind]):
            raise _OthersChangedError
        if before.kinds:
            Factor.objects.begin_set(user.pk)
        made["codes"] = None if before.kinds else renew_codes(user)
        for ended in UserSession.objects.end(reason=EndReason.REPLACED, user_id=user.pk):
            announce_end(user, ended.id, EndReason.REPLACED, by="user", client=client)
        _announce_added(made["factor"], user, client)

    methods = frozenset(session.amr.split()) - {"mfa", "dev"} | frozenset(method.split())
    if level_of(methods) == 1:  # your project has started the session, and has named no first factor
        methods |= {"fed"}
    try:
        pair = finish_login(session.user, request=request, client=client, proof=Proof(methods, check_again))
    except InvalidCredentialsError:  # disabled or deleted since
        raise SessionEndedError from None
    assert isinstance(pair, TokenPair)  # noqa: S101  # no gate asks again at level 2
    return Enrolled(made["factor"], made["codes"], pair)


@sensitive_variables()
def _confirm_later(session: UserSession, confirm: Callable[[Any], Factor], *, client: ClientInfo) -> Enrolled:
    claims = custom_claims(session)  # before the lock, because it runs code of the project
    with atomic():
        user = lock_unchanged(session.user)
        before = Factor.objects.confirmed(user)
        factor = confirm(user)
        if begin_to_ask(before.kinds.values(), [factor.kind]):
            raise _OthersChangedError
        Factor.objects.begin_set(user.pk)
        _announce_added(factor, user, client)
        return Enrolled(factor, None, rotate_session(session.pk, client=client, claims=claims))


def _require_same(session: UserSession, user: Any) -> None:
    is_active = UserSession.objects.filter(pk=session.pk, is_active=True).exists()
    if user.password != session.user.password or not is_active:
        raise SessionEndedError


def _announce_added(factor: Factor, user: Any, client: ClientInfo) -> None:
    signals.factor_added.announce(user=user, client=client, factor_id=str(factor.pk), kind=factor.kind)
    promise_notice(FactorEmail.FACTOR_ADDED, user, client)


def list_factors(user: Any) -> list[Factor]:
    """Return the confirmed factors of a user, the oldest first."""
    return list(Factor.objects.filter(user=user.pk, confirmed_at__isnull=False).order_by("confirmed_at", "pk"))


def rename_factor(*, user: Any, factor_id: uuid.UUID, name: str) -> Factor:
    """Rename a factor, and return it.

    Raises:
        FactorNotFoundError: the user has no such factor.
    """
    factor = find_factor(user, factor_id)
    factor.name = name
    Factor.objects.filter(pk=factor.pk).update(name=name)
    return factor


def find_factor(user: Any, factor_id: uuid.UUID) -> Factor:
    """Return a confirmed factor of a user.

    Args:
        user: the user.
        factor_id: the id.

    Raises:
        FactorNotFoundError: the user has no such factor.
    """
    found = Factor.objects.filter(pk=factor_id, user=user.pk, confirmed_at__isnull=False).first()
    if found is None:
        raise FactorNotFoundError
    return found


def remove_factor(*, user: Any, factor_id: uuid.UUID, client: ClientInfo) -> None:
    """Remove a factor. With the last one go the codes and the remembered devices, and all sessions get level 1.

    Raises:
        FactorNotFoundError: the user has no such factor.
        LastWayInError: the user could not log in any more.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        current = lock_unchanged(user)
        factor = find_factor(current, factor_id)
        others = Factor.objects.confirmed(current).kinds
        del others[factor.pk]
        if can_log_in({factor.pk: factor.kind}) and not can_log_in(others) and not _has_other_way_in(current):
            raise LastWayInError
        Factor.objects.filter(pk=factor.pk).delete()
        if others:
            Factor.objects.begin_set(current.pk)
        else:
            _remove_all(current)
        signals.factor_removed.announce(user=current, client=client, factor_id=str(factor_id), kind=factor.kind)
        promise_notice(FactorEmail.FACTOR_REMOVED, current, client)


def _remove_all(user: Any) -> int:
    """Remove all factors of a locked user and what goes with them, and return how many factors there were."""
    RecoveryCode.objects.filter(user=user.pk).delete()
    RememberedDevice.objects.filter(user=user.pk).delete()
    UserSession.objects.filter(user=user.pk, is_active=True).update(aal=1, step_up_at=None)
    return Factor.objects.filter(user=user.pk).delete()[0]


def _has_other_way_in(user: Any) -> bool:
    return bool(user.has_usable_password() or features.has_way_in(user, apart_from=Factor._meta.app_label))


def reset_factors(*, user_id: Any, client: ClientInfo | None = None, **actor: str) -> list[str]:
    """Remove all second factors of a user who has lost them, and return their kinds. The owner gets an email.

    Args:
        user_id: the primary key of the user.
        client: the client of an administrator.
        actor: `by` ("admin" or "system") and `actor_id`, for the audit event.
    """
    with atomic():
        user = lock_user(user_id)
        if user is None:
            return []
        kinds = sorted(Factor.objects.confirmed(user).kinds.values())
        _remove_all(user)
        if kinds:
            signals.factors_reset.announce(user=user, client=client, kinds=kinds, **actor)
            promise_notice(FactorEmail.FACTORS_RESET, user, None)
    return kinds


@sensitive_variables()
def renew_recovery_codes(*, user: Any, client: ClientInfo) -> list[str]:
    """Return new recovery codes, which cannot be shown again. The older ones are void.

    Raises:
        NoFactorError: the user has no second factor.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
    """
    with atomic():
        current = lock_unchanged(user)
        if not Factor.objects.confirmed(current).kinds:
            raise NoFactorError
        codes = renew_codes(current)
        signals.recovery_codes_generated.announce(user=current, client=client, number=len(codes))
        promise_notice(FactorEmail.RECOVERY_CODES_GENERATED, current, client)
    return codes
