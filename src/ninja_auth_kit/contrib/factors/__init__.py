"""What all second factors share: pending logins, step-up, recovery codes, remembered devices, the list of factors.

It asks for no factor by itself. Install it together with `ninja_auth_kit.contrib.totp` or
`ninja_auth_kit.contrib.passkeys`.
"""
