"""GET sessions and DELETE sessions/{id}."""

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session
from ninja_auth_kit.api.openapi import WITH_BEARER, WRITING, operation
from ninja_auth_kit.api.schemas import SessionOut
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import SessionNotFoundError
from ninja_auth_kit.kept_connections import with_kept_connection

router = Router()
router.add_decorator(with_kept_connection)


@router.get(
    "sessions",
    **operation(
        "list_sessions",
        summary="List the sessions",
        success={200: list[SessionOut]},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def list_sessions(request: HttpRequest) -> list[SessionOut]:
    """Return the active sessions of the user, newest first. `last_seen` is the time of the last login or refresh."""
    current = current_session(request).pk
    return [
        SessionOut(
            id=session.pk,
            login_time=session.login_time,
            last_seen=session.refreshed_at,
            ip_address=session.ip_address,
            user_agent=session.user_agent,
            is_current=session.pk == current,
        )
        for session in services.list_sessions(user=request.user)
    ]


@router.delete(
    "sessions/{session_id}",
    **operation(
        "end_session",
        summary="End a session",
        success={204: None},
        errors=(*WRITING, *WITH_BEARER, SessionNotFoundError),
        auth=JWTAuth(),
    ),
)
def end_session(request: HttpRequest, session_id: str) -> Status[None]:
    """End a session of the user.

    The response is 404 for an unknown session, a session that has ended, and a session of another user.
    """
    services.end_session(user=request.user, session_id=session_id, client=ClientInfo.of(request))
    return Status(204, None)
