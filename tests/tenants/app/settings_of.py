"""What `TENANT_SETTINGS` names."""

from typing import Any


def tenant_settings(connection: Any) -> dict[str, Any]:
    """Return the settings of the tenant that a connection works for."""
    if connection.schema_name == "public":
        return {}
    return {"BASE_URL": f"https://{connection.schema_name}.example.com", "SITE_NAME": connection.schema_name.title()}
