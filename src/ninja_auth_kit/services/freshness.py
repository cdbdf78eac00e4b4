"""Freshness: sensitive operations require a recent proof, at the highest level that the user can reach."""

from ninja_auth_kit import features
from ninja_auth_kit.conf import settings
from ninja_auth_kit.levels import AAL2
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.internal.own_password import require_password
from ninja_auth_kit.services.sessions import require_level
from ninja_auth_kit.tokens import AccessClaims


def require_fresh(*, session: UserSession, claims: AccessClaims) -> None:
    """Require that the user was authenticated within `STEP_UP_MAX_AGE`, with a second factor if the user has one.

    A stolen access token must not add a factor or remove one, and neither must an old session (ASVS 7.5.1, NIST SP
    800-63B-4 section 4.1.2.1).

    Args:
        session: the session of the request, with its level.
        claims: the claims of its access token.

    Raises:
        StepUpRequiredError: the user must prove more, or prove it again.
    """
    _require_recent(session, claims, has_factor=features.has_second_factor(session.user))


def require_confirmation(*, session: UserSession, claims: AccessClaims, password: str | None, field: str) -> None:
    """Require what confirms an operation: the password of a user who has one, and else a recent proof.

    A user with a second factor needs the recent proof beside the password. Whether the password is right is checked by
    the operation.

    Args:
        session: the session of the request, with its level.
        claims: the claims of its access token.
        password: as typed, or None if the request has none.
        field: the field of the request that has it.

    Raises:
        InvalidInputError: there is no password, and the user has one.
        StepUpRequiredError: the user must prove more, or prove it again.
    """
    require_password(session.user, password, field=field)
    has_factor = features.has_second_factor(session.user)
    if has_factor or password is None:
        _require_recent(session, claims, has_factor=has_factor)


def _require_recent(session: UserSession, claims: AccessClaims, *, has_factor: bool) -> None:
    max_age = int(settings.STEP_UP_MAX_AGE.total_seconds())
    require_level(claims, session, acr=AAL2 if has_factor else None, max_age=max_age)
