"""Values for MFA_ADAPTER of allauth. Importing them needs allauth in INSTALLED_APPS."""

from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter


class Encrypting(DefaultMFAAdapter):
    """The adapter of a project that encrypts secrets."""

    def encrypt(self, text: str) -> str:
        return "encrypted " + text[::-1]

    def decrypt(self, encrypted_text: str) -> str:
        word, _, text = encrypted_text.partition(" ")
        if word != "encrypted":
            raise LookupError(encrypted_text)
        return text[::-1]


class OwnHandles(DefaultMFAAdapter):
    """The adapter of a project that does not show primary keys to authenticators."""

    def get_public_key_credential_user_entity(self, user: Any) -> dict[str, Any]:
        return {**super().get_public_key_credential_user_entity(user), "id": b"\x00own handle"}


class Broken(DefaultMFAAdapter):
    """The adapter of a project whose key was lost."""

    def decrypt(self, encrypted_text: str) -> str:
        raise RuntimeError(encrypted_text)

    def get_public_key_credential_user_entity(self, user: Any) -> dict[str, Any]:
        return {"id": "not bytes"}
