// Run the whole flow with a client whose types are generated from the OpenAPI document of the server:
// node dist/flow.js SERVER EMAIL PASSWORD. The email address of the account must be verified.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Tokens = components["schemas"]["TokenPairOut"];

const [base, email, password] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl: base });

function bearer(tokens: Tokens) {
  return { headers: { Authorization: `Bearer ${tokens.access_token}` } };
}

function given<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${answer.response.status}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

const refused = await api.POST("/api/auth/login", { body: { email, password: "not the password" } });
console.log("refused:", refused.response.status, refused.error?.code);

const tokens = given(await api.POST("/api/auth/login", { body: { email, password } }));
console.log("logged in as", given(await api.GET("/api/auth/me", bearer(tokens))).email);

const renewed = given(await api.POST("/api/auth/refresh", { body: { refresh_token: tokens.refresh_token } }));
console.log("refreshed, same session:", renewed.session_id === tokens.session_id);

const sessions = given(await api.GET("/api/auth/sessions", bearer(renewed)));
console.log("sessions:", sessions.length);

const { response } = await api.POST("/api/auth/logout", { body: { refresh_token: renewed.refresh_token } });
console.log("logged out:", response.status);

const after = await api.GET("/api/auth/me", bearer(renewed));
console.log("afterwards:", after.response.status, after.error?.code);
