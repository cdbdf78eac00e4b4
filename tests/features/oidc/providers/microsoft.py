"""Microsoft Entra ID for all tenants, as Microsoft documents it, on loopback.

Sources, all below https://learn.microsoft.com/entra/identity-platform/:

- v2-protocols-oidc: the discovery document of `common`, whose issuer has `{tenantid}` in place of a tenant
- id-token-claims-reference: `iss`, `tid`, `sub`, `oid`; no `email_verified`
- optional-claims-reference: `email`, `auth_time` and `xms_edov`, which says whether the address belongs to a domain
  that the tenant has verified
"""

from typing import Any

from tests.features.oidc.providers.hostile import Provider

TENANT, OTHER_TENANT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"  # of personal accounts


class Microsoft(Provider):
    """Microsoft. Ada is of `TENANT`, Bob has an address of no verified domain, and Eve is of `OTHER_TENANT`.

    Attributes:
        issuer: the template with `{tenantid}`.
    """

    discovery_path = "/common/v2.0/.well-known/openid-configuration"
    authorization_path, token_path = "/common/oauth2/v2.0/authorize", "/common/oauth2/v2.0/token"
    keys_path = "/common/discovery/v2.0/keys"

    def __init__(self, lie: str | None = None, **options: Any) -> None:
        super().__init__(lie, promises_iss=False, **options)
        self.issuer = f"{self.url}/{{tenantid}}/v2.0"
        tenants = {"ada": TENANT, "bob": TENANT, "eve": OTHER_TENANT}
        for name, tenant in tenants.items():
            known = self.accounts[name]
            oid = f"00000000-0000-4000-8000-00000000{known['sub']}"
            self.accounts[name] = {
                "sub": f"pairwise-subject-of-{known['sub']}",
                "oid": oid,
                "tid": tenant,
                "ver": "2.0",
                "name": known["name"],
                "preferred_username": known["email"],
                "email": known["email"],
                "xms_edov": known["email_verified"],
            }

    def change_email(self, account: str, email: str, *, verified: bool = True) -> None:
        """Give an account another address."""
        self.accounts[account] |= {"email": email, "xms_edov": verified}

    def claims_of(self, account: str) -> dict[str, Any]:
        """Return the claims, with the issuer of the tenant."""
        claims = self.accounts[account]
        return {"iss": self.issuer.replace("{tenantid}", claims["tid"]), **claims}

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document in the words of Microsoft's."""
        found = super().metadata()
        for name in ("code_challenge_methods_supported", "authorization_response_iss_parameter_supported"):
            del found[name]
        methods = ["client_secret_post", "private_key_jwt", "client_secret_basic"]
        return {
            **found,
            "subject_types_supported": ["pairwise"],
            "token_endpoint_auth_methods_supported": methods,
            "response_modes_supported": ["query", "fragment", "form_post"],
        }

    def published(self) -> list[dict[str, Any]]:
        """Return the keys, with the template of the issuer beside each and without `alg`, as Microsoft does."""
        keys = super().published()
        return [{**{n: v for n, v in key.items() if n != "alg"}, "issuer": self.issuer} for key in keys]
