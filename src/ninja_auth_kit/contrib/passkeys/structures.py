"""What the ceremonies take and return. Importing these does not import the library `webauthn`."""

from typing import NamedTuple
from uuid import UUID


class RelyingParty(NamedTuple):
    """The site, as browsers and authenticators know it.

    Attributes:
        id: a domain, to which passkeys are bound.
        name: the name that the dialog of the browser may show.
        origins: the origins of the pages that may use passkeys, as browsers write them.
    """

    id: str
    name: str
    origins: tuple[str, ...]


class Descriptor(NamedTuple):
    """What options say about a passkey that exists: its credential id, and how the browser reaches it."""

    credential_id: bytes
    transports: tuple[str, ...] = ()


class NewPasskey(NamedTuple):
    """A passkey that was just registered.

    Attributes:
        public_key: a COSE key (RFC 9052 section 7).
        backup_eligible: whether it can be copied to other devices of its owner. This never changes.
        aaguid: the model of the authenticator, as the client says; not proved.
        transports: the words of the browser, also those that the kit does not know.
        is_discoverable: whether it can be used without its id, or None if the browser does not say.
        is_user_verified: whether the authenticator has verified the user.
    """

    credential_id: bytes
    public_key: bytes
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    aaguid: UUID
    transports: tuple[str, ...]
    is_discoverable: bool | None
    is_user_verified: bool


class StoredPasskey(NamedTuple):
    """What the kit knows about a passkey. `handle` is the user handle of its owner."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    backup_eligible: bool
    handle: bytes


class Assertion(NamedTuple):
    """A genuine use of a passkey: the new values of its row, and whether the authenticator verified the user."""

    sign_count: int
    backed_up: bool
    is_user_verified: bool
