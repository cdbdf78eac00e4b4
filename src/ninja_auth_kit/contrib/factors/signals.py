"""The signals of second factors: like those of `ninja_auth_kit.signals`, each carries `user` and `client`."""

from ninja_auth_kit.signals import ActionSignal

# A first factor was right, and a second one is due. No session was started.   methods: list[str]
factor_requested = ActionSignal()

# A second factor was refused at login.   reason: str, method: str | None
factor_failed = ActionSignal()

# A user proved more, or proved it again.   session_id: UUID, method: str, acr: str
stepped_up = ActionSignal()

# A step-up was refused.   session_id: UUID, reason: str, method: str
step_up_failed = ActionSignal()

# A second factor was confirmed, or imported from another package.   factor_id: UUID, kind: str,
# by: "system" if it was imported
factor_added = ActionSignal()

# A user removed a second factor.   factor_id: UUID, kind: str
factor_removed = ActionSignal()

# An administrator or operator removed all second factors of a user.   kinds: list[str], by: "admin" | "system"
factors_reset = ActionSignal()

# New recovery codes were made, and the older ones are void.   number: int
recovery_codes_generated = ActionSignal()

# A recovery code was used.   left: int
recovery_code_used = ActionSignal()

# A device was remembered after a login with a second factor.   device_id: UUID
device_remembered = ActionSignal()

# A user let a device, or all of them, be forgotten.   number: int
devices_forgotten = ActionSignal()
