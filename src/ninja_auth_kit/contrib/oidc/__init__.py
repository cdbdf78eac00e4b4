"""Login with an OpenID Connect provider, or with GitHub: a first factor, which can be linked to an account."""
