"""The machinery of the services. Only `services` and `contrib` import it."""
