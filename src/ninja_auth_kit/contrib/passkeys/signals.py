"""The signals of passkeys: like those of `ninja_auth_kit.signals`, each carries `user` and `client`."""

from ninja_auth_kit.signals import ActionSignal

# A genuine assertion was refused, because its counter did not rise. The user is the owner.   factor_id: str
clone_suspected = ActionSignal()
