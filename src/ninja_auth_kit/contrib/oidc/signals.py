"""The signals of providers: like those of `ninja_auth_kit.signals`, each carries `user` and `client`."""

from ninja_auth_kit.signals import ActionSignal

# An identity was linked to an account: by its owner, or when it registered the account.   provider: str
identity_linked = ActionSignal()

# An identity was unlinked by its owner or an administrator.   provider: str, by: "user" | "admin"
identity_unlinked = ActionSignal()

# A login, a link or a step-up by a provider was refused. The user is the one who is logged in, or
# None.   provider: str, reason: str
identity_refused = ActionSignal()
