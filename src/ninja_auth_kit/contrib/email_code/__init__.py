"""Login by a code in an email: a first factor, never a second one, with optional registration."""
