#!/usr/bin/env bash
# @hapi/jwt 3.2.4: of a JWK Set it reads RSA keys only, although `algorithms: ["ES256"]` is accepted beside the URL.
#
# Expected by most people: the options list ES256 and EdDSA among the algorithms of a remote key set, so a set with an
# EC key verifies ES256 tokens.
# Seen: keys that are not RSA are skipped while the set is read. With a set of EC keys alone the server does not start
# ("contained no valid keys"). The same EC key, given as PEM text instead of a URL, verifies the same token.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"name": "finding", "private": true}' > package.json
npm install --silent --no-audit --no-fund @hapi/hapi@21.4.10 @hapi/jwt@3.2.4 jose@6.2.18

cat > finding.mjs <<'JAVASCRIPT'
import http from "node:http";
import Hapi from "@hapi/hapi";
import Jwt from "@hapi/jwt";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";

const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
const jwk = { ...(await exportJWK(publicKey)), kid: "ec", use: "sig", alg: "ES256" };
const token = await new SignJWT({ sub: "7" }).setProtectedHeader({ alg: "ES256", kid: "ec" }).sign(privateKey);

const issuer = http.createServer((_, answer) => {
  answer.setHeader("Content-Type", "application/json");
  answer.end(JSON.stringify({ keys: [jwk] }));
});
await new Promise((started) => issuer.listen(0, "127.0.0.1", started));

const outcome = async (keys) => {
  const server = Hapi.server();
  await server.register(Jwt);
  const verify = { aud: false, iss: false, sub: false };
  server.auth.strategy("token", "jwt", { keys, verify, validate: () => ({ isValid: true }) });
  server.route({ method: "GET", path: "/", options: { auth: "token" }, handler: () => "in" });
  try {
    await server.initialize();
  } catch (error) {
    return `does not start: ${error.message}`;
  }
  const { statusCode } = await server.inject({ url: "/", headers: { authorization: `Bearer ${token}` } });
  await server.stop();
  return `status ${statusCode}`;
};

const url = `http://127.0.0.1:${issuer.address().port}/`;
const seen = {
  "EC key as PEM": await outcome({ key: await exportSPKI(publicKey), algorithms: ["ES256"], kid: "ec" }),
  "EC key in a set": await outcome({ uri: url, algorithms: ["ES256"] }),
};
issuer.close();
console.log(seen);
const isAsDescribed = seen["EC key as PEM"] === "status 200" && /no valid keys/.test(seen["EC key in a set"]);
if (!isAsDescribed) console.error("@hapi/jwt no longer behaves as described above.");
process.exit(isAsDescribed ? 0 : 1);
JAVASCRIPT
node finding.mjs
echo "As described: the key works as PEM text, and is skipped in a JWK Set."
