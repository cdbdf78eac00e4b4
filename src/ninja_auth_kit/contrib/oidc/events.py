"""The audit events of providers. None has a subject, an address, a code or a token.

A consumer imports this module to know them. It needs no Django.
"""

from ninja_auth_kit.audit.events.base import Event, Members, event


class ProviderDetails(Members):
    """The id of the provider in `OIDC["PROVIDERS"]`."""

    provider: str


@event("identity.linked", route="identity.linked.success", signal="", by="user", ocsf="3001/99, 3007/99")
class IdentityLinked(Event):
    """An identity at a provider was linked to an account, by its owner or because it registered the account."""

    details: ProviderDetails


@event("identity.unlinked", route="identity.unlinked.success", signal="", by="user", ocsf="3001/99, 3007/99")
class IdentityUnlinked(Event):
    """An identity was unlinked from an account. Identities that are deleted together with their user have no event."""

    details: ProviderDetails


@event(
    "identity.refused",
    route="identity.refused.failure",
    signal="",
    by="anonymous",
    fact=True,
    reasons={
        "invalid_challenge": "the flow token is not genuine, expired, used, or of another session",
        "wrong_state": "the state is not that of the flow token",
        "wrong_issuer": "another provider has issued the answer or the ID token",
        "code_refused": "the provider did not accept the authorization code",
        "malformed_id_token": "the ID token, or what the provider says about the user, is missing or malformed",
        "unknown_key": "the provider has no such signing key, or its algorithm is not allowed",
        "wrong_signature": "the signature is wrong",
        "wrong_audience": "the ID token is for another client",
        "wrong_time": "the ID token has expired, or is of the future",
        "wrong_nonce": "the ID token is of another flow",
        "too_old": "the user was not authenticated by the provider after the step-up was begun",
        "email_not_verified": "the provider has vouched for no address, or the account's address is not verified",
        "account_exists": "another account has the address",
        "identity_taken": "the identity belongs to another account, or the account has another one of the provider",
        "registration_closed": "registration is closed",
        "wrong_factor": "the identity is that of another user, or the user has a second factor",
        "invalid_credentials": "the user is disabled, or the kit has not written the row of the identity as it is",
    },
    ocsf="3002/99",
)
class IdentityRefused(Event):
    """What a provider said was refused, or did not log in, link or confirm anyone."""

    details: ProviderDetails


def connect() -> None:
    """Record the events when their signals are announced."""
    # Imported here, because a consumer without Django imports the module.
    from ninja_auth_kit.audit.receivers import connect_event
    from ninja_auth_kit.contrib.oidc import signals

    connect_event(signals.identity_linked, IdentityLinked)
    connect_event(signals.identity_unlinked, IdentityUnlinked)
    connect_event(signals.identity_refused, IdentityRefused)
