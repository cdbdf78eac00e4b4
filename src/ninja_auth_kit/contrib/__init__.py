"""Optional apps, one for each feature. Add those that you want to INSTALLED_APPS, after "ninja_auth_kit"."""
