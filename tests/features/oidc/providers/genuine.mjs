// oidc-provider, configured as a project would do it that is the provider of its company.
// Arguments: the port, a JSON file of the accounts, the client as JSON, and whether the ID token has only what the standard says.
// It ends when its standard input does.
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const [port, accounts, client, conforms] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [JSON.parse(client)],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  // The standard has the address at the UserInfo endpoint. Keycloak and others have it in the ID token, too.
  conformIdTokenClaims: conforms === "true",
  cookies: { keys: ["a key of the tests"] },
  // Read for each login, so that a test can change an address.
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => Object.values(JSON.parse(readFileSync(accounts))).find((account) => account.sub === sub),
  }),
});

process.stdin.on("end", () => process.exit()).resume();
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
