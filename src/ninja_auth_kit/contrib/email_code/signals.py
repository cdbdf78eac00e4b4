"""The signals of email codes: like those of `ninja_auth_kit.signals`, each carries `user` and `client`."""

from ninja_auth_kit.signals import ActionSignal

# A login code was requested; user is None if no user has the address.   identifier: str
login_code_requested = ActionSignal()
