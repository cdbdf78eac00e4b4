"""The signals of API keys: like those of `ninja_auth_kit.signals`, each carries `user` and `client`."""

from ninja_auth_kit.signals import ActionSignal

# A user created a key.   key_id: str, scopes: list[str], expires_at: str
api_key_created = ActionSignal()

# A key was revoked by its owner, an administrator, an operator or a password reset.   key_id: str, reason: str, by:
# "user" | "admin" | "system"
api_key_revoked = ActionSignal()

# A request with a key was refused. The user is the owner, if the key exists.   key_id: str | None, reason: str
api_key_refused = ActionSignal()
