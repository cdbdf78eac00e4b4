#!/usr/bin/env bash
# python-jose 3.5.0: a genuine token is refused if the key set has a key of another type before its own key.
#
# Expected by most people: given a JWK Set (RFC 7517), the library picks the key that the `kid` of the token names, or
# at least goes on to the next key when one does not fit.
# Seen: `kid` is ignored, every key is tried in the order of the set, and the first key of another type raises JWKError
# ("Incorrect key type"), which is not caught. With the same two keys in the other order, the same token is accepted.
# So a rotation from ES256 to RS256 can break services while both keys are published.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'python-jose[cryptography]==3.5.0' 'jwcrypto==1.5.6'

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

from jose import jwt
from jose.exceptions import JWKError
from jwcrypto import jwk

ec = jwk.JWK.generate(kty="EC", crv="P-256", kid="ec", use="sig", alg="ES256")
rsa = jwk.JWK.generate(kty="RSA", size=2048, kid="rsa", use="sig", alg="RS256")
public = {key.kid: json.loads(key.export_public()) for key in (ec, rsa)}
token = jwt.encode({"sub": "7"}, rsa.export_to_pem(private_key=True, password=None), "RS256", {"kid": "rsa"})


def outcome(order: list[str]) -> str:
    try:
        jwt.decode(token, {"keys": [public[kid] for kid in order]}, algorithms=["RS256"])
    except JWKError as error:
        return f"refused: {error}"
    return "accepted"


outcomes = {" then ".join(order): outcome(order) for order in (["rsa", "ec"], ["ec", "rsa"])}
print(json.dumps(outcomes, indent=1))
if outcomes["rsa then ec"] != "accepted" or not outcomes["ec then rsa"].startswith("refused"):
    sys.exit("python-jose no longer behaves as described above.")
PYTHON
echo "As described: the order of the keys decides whether a genuine token is accepted."
