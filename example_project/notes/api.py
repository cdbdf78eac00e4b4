"""A protected resource: the notes of the user.

`JWTAuth` on the API sets `request.auth` to the user, and so does `APIKeyAuth` on a route that accepts API keys too.
"""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.contrib.api_keys import APIKeyAuth
from notes.models import Note

router = Router(tags=["notes"])

# The database rejects a text that is too long or contains NUL, which would be a 500.
# The schema rejects it first, with a 422.
Line = Annotated[str, Field(max_length=Note.MAX_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$")]


class NoteIn(Schema):
    """The body of a request that writes a note."""

    text: Line


class NoteOut(Schema):
    """A note."""

    id: int
    text: str
    created_at: datetime


@router.get("", response=list[NoteOut], operation_id="list_notes", auth=[APIKeyAuth("notes:read"), JWTAuth()])
def list_notes(request: HttpRequest) -> list[Note]:
    """Return the notes of the user, the newest first."""
    return list(Note.objects.filter(author=request.auth))  # type: ignore[attr-defined]  # set by both


@router.post("", response={201: NoteOut}, operation_id="write_note", auth=[APIKeyAuth("notes:write"), JWTAuth()])
def write_note(request: HttpRequest, body: NoteIn) -> Status[Note]:
    """Save a note of the user."""
    return Status(201, Note.objects.create(author=request.auth, text=body.text))  # type: ignore[attr-defined]


@router.delete("", response={204: None}, operation_id="delete_notes", auth=JWTAuth(acr="aal2", max_age=300))
def delete_notes(request: HttpRequest) -> Status[None]:
    """Delete all notes of the user, who must have proved a second factor in the last five minutes."""
    Note.objects.filter(author=request.auth).delete()  # type: ignore[attr-defined]
    return Status(204, None)
