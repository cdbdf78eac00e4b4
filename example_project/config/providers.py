"""The provider that `make demo` runs on this machine. With Google, there would be a client ID and a secret alone."""

import os
from typing import Any

from config.environment import is_on, required

PROVIDERS: dict[str, dict[str, Any]] = {}
if is_on("DEBUG") and os.environ.get("OIDC_ISSUER"):  # it has no https
    PROVIDERS["example"] = {
        "name": "Example ID",
        "issuer": os.environ["OIDC_ISSUER"],
        "client_ids": [required("OIDC_CLIENT_ID")],
        "client_secret": required("OIDC_CLIENT_SECRET"),
        "email_trusted": True,
    }
