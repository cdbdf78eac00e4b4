"""What a provider says about a user: the identity, and the email address that it vouches for, if any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ninja_auth_kit.contrib.oidc.providers import Provider
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email

_LONGEST_EMAIL = 254
_DOMAINS_OF_APPLE = frozenset({"icloud.com", "mac.com", "me.com", "privaterelay.appleid.com"})


@dataclass(frozen=True)
class ProvedIdentity:
    """A user of a provider, who has just logged in there.

    Attributes:
        issuer: the issuer of the ID token.
        subject: the id of the user at the issuer. With the issuer, it is the only key to an account.
        email: the address that the provider names, for show, or "".
        is_email_verified: whether the provider says that it has verified the address.
        is_authority: whether the provider is the one that gives out the address, or administers its domain.
    """

    issuer: str
    subject: str = field(repr=False)
    email: str = field(default="", repr=False)
    is_email_verified: bool = False
    is_authority: bool = False


def identity_of(provider: Provider, claims: Mapping[str, Any], *, issuer: str) -> ProvedIdentity:
    """Return the identity in the claims of an ID token that was verified."""
    email = usable_email(claims.get("email"))
    is_verified = bool(email) and _says_verified(provider, claims)
    return ProvedIdentity(
        issuer, claims["sub"], email, is_verified, is_verified and _is_authority(provider, claims, email)
    )


def usable_email(value: Any) -> str:
    """Return an address that a provider names, or "" for anything that is not one."""
    if not isinstance(value, str) or len(value) > _LONGEST_EMAIL or not value.isprintable():
        return ""
    try:
        canonical_email(value)
    except InvalidEmailError:
        return ""
    return value


def _says_verified(provider: Provider, claims: Mapping[str, Any]) -> bool:
    """Return whether the provider has verified the address: JSON `true`, and nothing else that looks like it.

    Apple's claim may be a text. Microsoft has none, and its `email` is what an administrator of any tenant has typed,
    unless `xms_edov` says that the domain was verified.
    """
    if provider.preset == "microsoft":
        return _is_true(claims.get("xms_edov"), "1", "true")
    return _is_true(claims.get("email_verified"), *(["true"] if provider.preset == "apple" else []))


def _is_true(value: Any, *spellings: str) -> bool:
    return value is True or (isinstance(value, str) and value in spellings)


def _is_authority(provider: Provider, claims: Mapping[str, Any], email: str) -> bool:
    """Return whether the provider is the authority of a verified address.

    Google and Apple also verify the address of another mail service once. That mailbox may have another owner by now.
    """
    domain = email.rpartition("@")[2].lower()
    if provider.preset == "apple":
        return domain in _DOMAINS_OF_APPLE
    if provider.preset == "google":
        hosted = claims.get("hd")
        return domain == "gmail.com" or (isinstance(hosted, str) and hosted.lower() == domain)
    return provider.preset == "microsoft"
