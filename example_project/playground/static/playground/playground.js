// The page at `/`: every button sends one request to the API and shows it with its response.
// There is no framework and no build step. Responses are inserted only as text, never as HTML.

const AUTH = "/api/auth";
const KEPT = 40; // requests and events that stay on the page
const MAIL_PATIENCE = 10_000; // milliseconds
const TRANSPORT = "X-AuthKit-Transport"; // the header that asks for cookie mode
const USES_REFRESH_TOKEN = /^\/api\/auth\/(login|refresh|logout|factors|oidc)\b/; // the paths that need the header

const $ = (selector, root = document) => root.querySelector(selector);
const account = $("#account");
const cookieSwitch = $("#cookie-mode");

// What each kind of link in an email does, by its path.
const LINKS = {
  "verify-email": { text: "Verify with the password", body: (token) => ({ token, password: password() }) },
  "password/reset": { text: "Set the new password", path: "password/reset/confirm", body: (token) => ({ token, new_password: newPassword() }) },
  "email/change": { text: "Confirm the new email address", path: "email/change/confirm", body: (token) => ({ token }) },
};

const devices = Object.fromEntries(["phone", "laptop"].map((id) => [id, { id, element: document.getElementById(id), tokens: null }]));
const calls = [];
const names = new Map(); // request id -> name of the request, to show it beside its events
let shown = null; // the request in the middle
let decoded = null; // the access token in the middle
let mailTurn = 0; // if two searches for emails overlap, only the later one shows its result

// --- elements -------------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const email = () => account.elements.email.value.trim();
const password = () => account.elements.password.value;
const newPassword = () => $("#change-password").elements.new_password.value;
// A browser keeps one refresh token in a cookie, so only one of the two devices can have it there.
const isInCookieMode = (device) => device === devices.laptop && cookieSwitch.checked;

// --- requests -------------------------------------------------------------------------------------------------

async function call(method, path, { body, device, bearer = true, key, quiet = false } = {}) {
  const id = `page-${crypto.randomUUID().slice(0, 13)}`;
  const headers = { "X-Request-ID": id };
  if (body) headers["Content-Type"] = "application/json";
  if (bearer && device?.tokens) headers.Authorization = `Bearer ${device.tokens.access_token}`;
  if (key) headers.Authorization = `Bearer ${key}`;
  if (isInCookieMode(device) && USES_REFRESH_TOKEN.test(path)) headers[TRANSPORT] = "cookie";
  const credentials = headers[TRANSPORT] ? "same-origin" : "omit"; // without cookies, the phone is like another browser
  const made = { id, method, path, headers, body, device: device?.id, status: 0, statusText: "no response", answer: null };
  names.set(id, `${method} ${path.replace(AUTH, "")}${device ? ` on the ${device.id}` : ""}`);
  try {
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials });
    const text = await response.text();
    Object.assign(made, { status: response.status, statusText: response.statusText });
    made.type = response.headers.get("Content-Type") ?? "";
    made.answer = text && made.type.includes("json") ? JSON.parse(text) : text;
  } catch (error) {
    made.answer = String(error);
  }
  calls.unshift(made);
  calls.length = Math.min(calls.length, KEPT);
  if (quiet) listCalls();
  else show(made);
  return made;
}

// --- request and response -----------------------------------------------------------------------------------------

function show(made) {
  shown = made;
  const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
  const headers = Object.entries(made.headers).map(([name, value]) => `${name}: ${value}`);
  if (made.headers[TRANSPORT]) headers.push("Cookie: (what the browser has; no script can read it)");
  const request = [`${made.method} ${made.path} HTTP/1.1`, ...headers, made.body ? `\n${json(made.body)}` : ""].join("\n");
  const status = element("span", { className: `status ${tone(made)}`, textContent: `HTTP/1.1 ${made.status} ${made.statusText}` });
  const answer = element("pre", { tabIndex: 0 }, status, made.type ? `\nContent-Type: ${made.type}` : "", made.answer ? `\n\n${json(made.answer)}` : "");
  $("#exchange").replaceChildren(element("pre", { textContent: request.trimEnd(), tabIndex: 0 }), answer);
  const token = made.answer?.access_token ?? made.headers.Authorization?.slice("Bearer ".length);
  if (token?.includes(".")) decode(token); // an API key says nothing
  listCalls();
}

const tone = (made) => (made.status >= 200 && made.status < 300 ? "ok" : "no");

function listCalls() {
  $("#calls").replaceChildren(...calls.map((made) => {
    const status = element("span", { className: tone(made), textContent: ` ${made.status || "–"}` });
    const button = element("button", { type: "button", onclick: () => show(made) }, `${made.method} ${made.path.replace(`${AUTH}/`, "")}`, status);
    button.setAttribute("aria-pressed", String(made === shown));
    return element("li", {}, button);
  }));
}

function decode(token) {
  const part = (text) => JSON.parse(atob(text.replaceAll("-", "+").replaceAll("_", "/")));
  const [header, claims] = token.split(".", 2).map(part);
  decoded = { header, claims };
  const rows = Object.entries({ ...header, ...claims }).flatMap(([name, value]) => [
    element("dt", { textContent: name }),
    element("dd", { textContent: ["iat", "exp"].includes(name) ? `${value} (${new Date(value * 1000).toLocaleTimeString()})` : String(value) }),
  ]);
  const left = element("p", { className: "clock mono", id: "left" });
  $("#token").replaceChildren(element("h3", { textContent: "Access token" }), left, element("dl", {}, ...rows));
  tick();
}

// --- devices ----------------------------------------------------------------------------------------------------

function say(device, state, title, text = "", code = "") {
  const struck = state === "ended" && device.element.dataset.state === "live";
  device.element.dataset.state = state;
  const lines = [element("strong", { textContent: title }), element("span", { textContent: text }), element("code", { textContent: code })];
  if (state === "live") lines.push(element("div", { className: "clock" }));
  $(".screen", device.element).replaceChildren(...lines);
  enableButtons(device);
  device.element.classList.toggle("struck", struck);
  tick();
}

function enableButtons(device) {
  const isPending = device.element.dataset.state === "pending";
  for (const button of device.element.querySelectorAll("[data-do]:not([data-do^=login])")) {
    const canRun = device.tokens || (button.dataset.do === "refresh" && isInCookieMode(device));
    button.disabled = isPending || !canRun;
  }
  cookieSwitch.disabled = devices.laptop.tokens !== null; // a session that is in the cookie stays in it
}

function take(device, tokens) {
  device.tokens = tokens;
  device.expires = Date.now() + tokens.expires_in * 1000;
  say(device, "live", "Logged in", email(), `refresh token in ${tokens.refresh_token ? "memory" : "a cookie"}`);
}

// A passkey or a cookie decides which user is logged in, and the page does not know it yet.
async function takeAndAskWho(device, tokens) {
  device.tokens = tokens;
  const made = await call("GET", `${AUTH}/me`, { device, quiet: true });
  if (made.status === 200) account.elements.email.value = made.answer.email;
  take(device, tokens);
}

// The response of the API decides what the device shows.
function showIfEnded(device, made) {
  if (made.status === 401) say(device, device.tokens ? "ended" : "out", "Logged out", made.answer?.detail, `401 ${made.answer?.code}`);
}

function refuse(device, made) {
  const state = device.tokens ? device.element.dataset.state : "out";
  say(device, state, "Login rejected", made.answer?.detail ?? String(made.answer), `${made.status} ${made.answer?.code ?? ""}`);
}

const actions = {
  async login(device) {
    const made = await call("POST", `${AUTH}/login`, { body: { email: email(), password: password() }, device, bearer: false });
    if (made.status === 202) return wait(device, made.answer);
    if (made.status !== 200) return refuse(device, made);
    take(device, made.answer);
    await checkOthers(device);
  },
  loginByPasskey, // see below, as the next one
  loginByEmail,
  async notes(device) {
    showIfEnded(device, await call("POST", "/api/notes", { body: { text: `from the ${device.id}` }, device }));
  },
  async refresh(device) {
    const made = await call("POST", `${AUTH}/refresh`, { body: refreshToken(device), device, bearer: false });
    if (made.status === 200) await (device.tokens ? take : takeAndAskWho)(device, made.answer);
    else showIfEnded(device, made);
  },
  async sessions(device) {
    const made = await call("GET", `${AUTH}/sessions`, { device });
    showIfEnded(device, made);
    if (made.status === 200) listSessions(device, made.answer);
  },
  async logout(device) {
    await call("POST", `${AUTH}/logout`, { body: refreshToken(device), device, bearer: false });
    device.tokens = null;
    say(device, "out", "Logged out");
    offerAutofill();
  },
};

// In cookie mode there is no body, because the browser sends the token.
const refreshToken = (device) => (isInCookieMode(device) ? undefined : { refresh_token: device.tokens.refresh_token });

// The other devices send a request, so that the API and not this page decides whether their sessions have ended.
async function checkOthers(except) {
  for (const other of Object.values(devices)) {
    if (other === except || !other.tokens || other.element.dataset.state !== "live") continue;
    showIfEnded(other, await call("GET", `${AUTH}/me`, { device: other, quiet: true }));
  }
}

function listSessions(device, sessions) {
  $("#where").hidden = false;
  $("#sessions").replaceChildren(...sessions.map((session) => {
    const end = element("button", { type: "button", textContent: "End session", onclick: async () => {
      showIfEnded(device, await call("DELETE", `${AUTH}/sessions/${session.id}`, { device }));
      await checkOthers(null);
      $("#where").hidden = true;
    } });
    const since = new Date(session.login_time).toLocaleTimeString();
    return element("li", {}, element("span", { className: "mono", textContent: `${session.id.slice(0, 8)}… since ${since}, ${session.ip_address}${session.is_current ? " (this session)" : ""} ` }), end);
  }));
}

// --- second factors -----------------------------------------------------------------------------------------------

const factor = $("#factor").elements;
let enrolment = null; // an authenticator app that waits for its first code
let pending = null; // a login that waits for a code, and its device
let appSecret = null; // this page is also an authenticator app
let lastStep = 0; // a code is valid once, so the app of this page never shows one twice

// A code of six digits is one of the app, and anything else a recovery code.
const kindOfCode = () => (/^\d{6}$/.test(factor.code.value.trim()) ? "totp" : "recovery-code");

// The password was right, and the other device is still logged in.
function wait(device, answer) {
  setPending({ device, challenge_token: answer.challenge_token }, answer.methods);
  $("#factors").open = true;
  say(device, "pending", "Second factor required", `One of: ${answer.methods.join(", ")}`, "202 factor_required");
}

function setPending(login, methods = []) {
  pending = login;
  factor.complete.disabled = login === null;
  factor.complete_passkey.disabled = !methods.includes("passkey");
}

async function completeLogin() {
  const { device, challenge_token } = pending;
  const body = { challenge_token, code: factor.code.value.trim() };
  const made = await call("POST", `${AUTH}/login/${kindOfCode()}`, { body, device, bearer: false });
  factor.code.value = "";
  await finishLogin(device, made);
}

async function finishLogin(device, made) {
  if (made.status !== 200) return say(device, "pending", "Second factor rejected", made.answer?.detail, `${made.status} ${made.answer?.code}`);
  setPending(null);
  take(device, made.answer);
  await checkOthers(device);
}

async function addApp() {
  const made = await call("POST", `${AUTH}/factors/totp`, { body: { name: "an app" }, device: activeDevice() });
  if (made.status !== 201) return;
  enrolment = made.answer;
  [appSecret, lastStep] = [enrolment.secret, 0];
  factor.confirm.disabled = false;
  const picture = element("img", { alt: "The QR code for an authenticator app", src: `data:image/svg+xml,${encodeURIComponent(svg(enrolment.qr_svg))}` });
  const text = element("div", {}, "Scan it, or type this secret: ", element("code", { id: "secret", textContent: enrolment.secret }));
  showEnrolment(picture, text);
}

// As an image and not as HTML, so that nothing in it can run. An image needs the namespace, and the answer has an inline element.
const svg = (inline) => (inline.includes("xmlns=") ? inline : inline.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"'));

function showEnrolment(...children) {
  $("#enrolment").hidden = children.length === 0;
  $("#enrolment").replaceChildren(...children);
}

async function confirmApp() {
  const device = activeDevice();
  const made = await call("POST", `${AUTH}/factors/totp/${enrolment.id}/confirm`, { body: { code: factor.code.value.trim() }, device });
  factor.code.value = "";
  if (made.status !== 200) return;
  factor.confirm.disabled = true;
  await showNewFactor(device, made.answer);
}

async function showNewFactor(device, { tokens, recovery_codes: codes }) {
  take(device, tokens); // the first factor ends all sessions, and these are the tokens of a new one
  if (codes) showEnrolment(element("div", {}, "Recovery codes, shown this once: ", element("pre", { id: "codes", textContent: codes.join("\n"), tabIndex: 0 })));
  else showEnrolment();
  await listFactors();
}

async function stepUp() {
  const device = activeDevice();
  const made = await call("POST", `${AUTH}/step-up/${kindOfCode()}`, { body: { code: factor.code.value.trim() }, device });
  factor.code.value = "";
  applyStepUp(device, made);
}

function applyStepUp(device, made) {
  if (made.status === 200) take(device, { ...device.tokens, ...made.answer });
}

async function listFactors() {
  const device = activeDevice();
  const made = await call("GET", `${AUTH}/factors`, { device, quiet: true });
  if (made.status !== 200) return;
  $("#factor-list").replaceChildren(...made.answer.factors.map((one) => {
    const remove = element("button", { type: "button", textContent: "Remove", onclick: async () => {
      const removed = await call("DELETE", `${AUTH}/factors/${one.id}`, { device: activeDevice() });
      if (removed.status === 204) {
        showEnrolment();
        await listFactors();
      }
    } });
    return element("li", {}, element("span", { className: "mono", textContent: `${one.kind}: ${one.name}, ${made.answer.recovery_codes_left} recovery codes left ` }), remove);
  }));
}

// What an authenticator app does (RFC 6238): a keyed hash of the number of half minutes since 1970.
async function codeNow() {
  if (!appSecret) return;
  lastStep = Math.max(Math.floor(Date.now() / 30_000), lastStep + 1);
  const bits = [...appSecret].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  const step = new DataView(new ArrayBuffer(8));
  step.setBigUint64(0, BigInt(lastStep));
  const hash = new DataView(await crypto.subtle.sign("HMAC", key, step));
  const number = hash.getUint32(hash.getUint8(19) & 15) & 0x7fffffff;
  factor.code.value = String(number % 1_000_000).padStart(6, "0");
}

// --- passkeys -----------------------------------------------------------------------------------------------------

const WHY_NO_PASSKEY = {
  InvalidStateError: "This device already has a passkey of this account.",
  NotAllowedError: "The dialog was closed, the time ran out, or this browser has no passkey that can be used here.",
  NotSupportedError: "This browser does not support passkeys, or is too old for this page.",
  SecurityError: `Browsers bind no passkey to this address. Open ${location.origin.replace(location.hostname, "localhost")}/ instead.`,
};
let ceremony = new AbortController(); // a browser runs one at a time, so each one ends the one before it

// Get the options, let the browser create or get a credential, and send it.
// Return the last response, or null if the browser has made no credential.
async function runCeremony(kind, path, { body, extra, device, bearer = true, mediation }) {
  ceremony.abort();
  ceremony = new AbortController();
  const { signal } = ceremony;
  const begun = await call("POST", `${AUTH}/${path}/options`, { body, device, bearer, quiet: Boolean(mediation) });
  if (begun.status !== 200) return mediation ? null : begun;
  const { challenge_token, public_key } = begun.answer;
  let credential;
  try {
    const parse = kind === "create" ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
    if (!globalThis.PublicKeyCredential?.[parse]) throw new DOMException("", "NotSupportedError");
    const publicKey = PublicKeyCredential[parse](public_key);
    credential = (await navigator.credentials[kind]({ publicKey, mediation, signal })).toJSON();
  } catch (error) {
    const isAsked = !mediation && !signal.aborted; // otherwise the user has not asked for it, or for another one since
    if (isAsked) say(device, device.element.dataset.state, "No passkey used", WHY_NO_PASSKEY[error.name] ?? error.message, error.name);
    return null;
  }
  return call("POST", `${AUTH}/${path}`, { body: { challenge_token, credential, ...extra }, device, bearer });
}

async function addPasskey() {
  const device = activeDevice();
  const made = await runCeremony("create", "factors/passkeys", { extra: { name: "this browser" }, device });
  if (made?.status === 201) await showNewFactor(device, made.answer);
}

async function loginByPasskey(device, mediation) {
  const made = await runCeremony("get", "login/passkey", { device, bearer: false, mediation });
  if (!made) return;
  if (made.status !== 200) return refuse(device, made);
  await takeAndAskWho(device, made.answer);
  await checkOthers(device);
}

async function completeLoginByPasskey() {
  const { device, challenge_token } = pending;
  const made = await runCeremony("get", "login/passkey", { body: { challenge_token }, device, bearer: false });
  if (made) await finishLogin(device, made);
}

async function stepUpByPasskey() {
  const device = activeDevice();
  const made = await runCeremony("get", "step-up/passkey", { device });
  if (made) applyStepUp(device, made);
}

// The browser lists passkeys in the field for the email address, until the user chooses one.
// Nothing is shown while it waits, and the user may never choose one.
async function offerAutofill() {
  const isAvailable = await globalThis.PublicKeyCredential?.isConditionalMediationAvailable?.();
  if (isAvailable) await loginByPasskey(devices.laptop, "conditional");
}

// --- emailed codes ------------------------------------------------------------------------------------------------

const emailLogin = $("#email-login").elements;
let requested = null; // the challenge of a requested code, and its device

async function loginByEmail(device) {
  const made = await call("POST", `${AUTH}/login/email-code/request`, { body: { email: email() }, device, bearer: false });
  if (made.status !== 202) return refuse(device, made);
  setRequested({ device, challenge_token: made.answer.challenge_token });
  $("#email-code").open = true;
  say(device, "pending", "Code requested", made.answer.detail, "202");
  openMails();
}

function setRequested(login) {
  requested = login;
  emailLogin.complete.disabled = login === null;
}

async function completeByEmail() {
  const { device, challenge_token } = requested;
  const body = { challenge_token, code: emailLogin.code.value.trim() };
  const made = await call("POST", `${AUTH}/login/email-code`, { body, device, bearer: false });
  emailLogin.code.value = "";
  if (made.status !== 200 && made.status !== 202) return say(device, "pending", "Code rejected", made.answer?.detail, `${made.status} ${made.answer?.code}`);
  setRequested(null);
  closeMails();
  if (made.status === 202) return wait(device, made.answer);
  await takeAndAskWho(device, made.answer);
  await checkOthers(device);
}

// --- providers ----------------------------------------------------------------------------------------------------

const providers = $("#providers");

// The login of the provider opens in a window, because a redirect would end this page and its tokens. A page that
// stores its tokens goes to the authorization URL itself.
async function runFlow(provider, purpose, device) {
  const popup = open("about:blank", "provider", "popup,width=480,height=560"); // later, the browser would block it
  const bearer = purpose !== "login";
  const body = { purpose, redirect_uri: `${location.origin}/provider-done` };
  const begun = await call("POST", `${AUTH}/oidc/${provider}/start`, { body, device, bearer });
  if (begun.status !== 200 || !popup) {
    popup?.close();
    return begun;
  }
  popup.location = begun.answer.authorization_url;
  const added = await cameBack(popup);
  if (!added?.has("code")) return null; // the user has cancelled
  const { flow_token } = begun.answer;
  const answer = Object.fromEntries([...added].filter(([name]) => ["code", "state", "iss"].includes(name)));
  return call("POST", `${AUTH}/oidc/${provider}/finish`, { body: { flow_token, ...answer }, device, bearer });
}

// Return the parameters with which the browser came back, or null if the window was closed before.
function cameBack(popup) {
  const channel = new BroadcastChannel("provider");
  return new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      channel.postMessage("received"); // the window closes
      resolve(new URLSearchParams(data));
    };
    const timer = setInterval(() => {
      if (!popup.closed) return;
      clearInterval(timer);
      resolve(null);
    }, 250);
  }).finally(() => channel.close());
}

async function loginByProvider(device, provider) {
  const made = await runFlow(provider, "login", device);
  if (!made) return;
  if (made.status === 202) return wait(device, made.answer);
  if (made.status !== 200) return refuse(device, made);
  await takeAndAskWho(device, made.answer);
  await checkOthers(device);
}

async function linkProvider(provider) {
  const made = await runFlow(provider, "link", activeDevice());
  if (made?.status === 201) await listIdentities();
}

async function stepUpByProvider(provider) {
  const device = activeDevice();
  const made = await runFlow(provider, "step_up", device);
  if (made) applyStepUp(device, made);
}

async function listIdentities() {
  const made = await call("GET", `${AUTH}/identities`, { device: activeDevice(), quiet: true });
  if (made.status !== 200) return;
  $("#identity-list").replaceChildren(...made.answer.map((one) => {
    const unlink = element("button", { type: "button", textContent: "Unlink", onclick: async () => {
      const unlinked = await call("DELETE", `${AUTH}/identities/${one.id}`, { device: activeDevice() });
      if (unlinked.status === 204) await listIdentities();
    } });
    return element("li", {}, element("span", { className: "mono", textContent: `${one.provider}: ${one.email} ` }), unlink);
  }));
}

// One button for each provider and device, and two for the account.
async function offerProviders() {
  const made = await call("GET", `${AUTH}/oidc`, { quiet: true });
  if (made.status !== 200 || !made.answer.length) return;
  providers.hidden = false;
  for (const { id, name } of made.answer) {
    for (const device of Object.values(devices)) {
      const button = element("button", { type: "button", textContent: `Log in with ${name}` });
      on(button, () => loginByProvider(device, id));
      $("[data-do=loginByEmail]", device.element).after(button);
    }
    const [link, stepUp] = ["Link", "Step up with"].map((what) => element("button", { type: "button", textContent: `${what} ${name}` }));
    on(link, () => linkProvider(id));
    on(stepUp, () => stepUpByProvider(id));
    $("[name=list]", providers).before(link, stepUp);
  }
}

// --- API keys -----------------------------------------------------------------------------------------------------

const apiKey = $("#api-key").elements;
let newKey = null; // the API shows a key once, and this page is also the program that uses it

async function createKey() {
  const body = { name: "nightly backup", scopes: ["notes:read"] };
  const made = await call("POST", `${AUTH}/api-keys`, { body, device: activeDevice() });
  if (made.status !== 201) return;
  setKey(made.answer.key);
  await listKeys();
}

function setKey(key) {
  newKey = key;
  $("#new-key").hidden = key === null;
  $("#new-key").replaceChildren("The key, shown this once: ", element("code", { textContent: key ?? "" }));
  for (const button of [apiKey.read, apiKey.write]) button.disabled = key === null;
}

async function listKeys() {
  const made = await call("GET", `${AUTH}/api-keys`, { device: activeDevice(), quiet: true });
  if (made.status !== 200) return;
  $("#key-list").replaceChildren(...made.answer.map((one) => {
    const revoke = element("button", { type: "button", textContent: "Revoke", onclick: async () => {
      const revoked = await call("DELETE", `${AUTH}/api-keys/${one.id}`, { device: activeDevice() });
      if (revoked.status === 204) await listKeys();
    } });
    const used = one.last_used_at ? "used" : "never used";
    return element("li", {}, element("span", { className: "mono", textContent: `${one.start}… ${one.name} (${one.scopes.join(", ")}), ${used} ` }), revoke);
  }));
}

const readByKey = () => call("GET", "/api/notes", { key: newKey });
const writeByKey = () => call("POST", "/api/notes", { body: { text: "from a program" }, key: newKey });

// --- emails -----------------------------------------------------------------------------------------------------

// Emails are sent shortly after the response, and one flow may send two: poll for a while, and show what arrives.
async function openMails({ to = email() } = {}) {
  const turn = (mailTurn += 1);
  const deadline = Date.now() + MAIL_PATIENCE;
  let found = null;
  $("#mailbox").hidden = false;
  $("#mails").replaceChildren(element("li", { className: "empty", textContent: `Waiting for emails to ${to}…` }));
  while (turn === mailTurn && Date.now() < deadline) {
    const response = await fetch(document.body.dataset.mails);
    const mails = (await response.json()).mails.filter((mail) => mail.to === to);
    if (turn === mailTurn && mails.length && mails.length !== found) $("#mails").replaceChildren(...mails.slice(0, 3).map(mailItem));
    found = mails.length;
    await new Promise((wake) => setTimeout(wake, 250));
  }
  if (!found && turn === mailTurn) $("#mails").replaceChildren(element("li", { className: "empty", textContent: `No email to ${to}.` }));
}

function closeMails() {
  mailTurn += 1;
  $("#mailbox").hidden = true;
}

function mailItem(mail) {
  const [, path, token] = /\/(verify-email|password\/reset|email\/change)#token=(\S+)/.exec(mail.body) ?? [];
  const item = element("li", {}, element("strong", { textContent: mail.subject }), element("pre", { textContent: mail.body.trim(), tabIndex: 0 }));
  const [code] = /^[A-Z]{4}-[A-Z]{4}$/m.exec(mail.body) ?? [];
  if (code) item.append(element("button", { type: "button", textContent: "Enter the code", onclick: () => { emailLogin.code.value = code; } }));
  if (!path) return item;
  const link = LINKS[path];
  item.append(element("button", { type: "button", className: "first", textContent: link.text, onclick: () => follow(link.path ?? path, link.body(token), path) }));
  return item;
}

async function follow(path, body, kind) {
  const made = await call("POST", `${AUTH}/${path}`, { body });
  if (tone(made) !== "ok") return;
  if (kind === "password/reset") account.elements.password.value = body.new_password;
  if (kind === "email/change") account.elements.email.value = $("#change-email").elements.new_email.value;
  closeMails();
  await checkOthers(null);
}

// --- audit events -----------------------------------------------------------------------------------------------

function listen(url) {
  const source = new EventSource(url);
  source.addEventListener("state", ({ data }) => brokerState(JSON.parse(data)));
  source.addEventListener("audit", ({ data }) => record(JSON.parse(data)));
  source.onerror = () => brokerState({ broker: null, reason: "The server does not respond." });
}

function brokerState({ broker, reason, waiting }) {
  const wait = waiting === undefined ? "" : ` ${waiting} ${waiting === 1 ? "event waits" : "events wait"}.`;
  $("#broker").dataset.state = broker ? "here" : "away";
  $("#broker").textContent = broker ? `Connected to RabbitMQ at ${broker}.` : `${reason}${wait}`;
}

function record({ key, ...event }) {
  const failed = event.data?.outcome === "failure";
  const why = [event.data?.reason, names.get(event.correlationid), event.data?.session?.id?.slice(0, 8)].filter(Boolean).join(" · ");
  const summary = element("summary", {},
    element("span", { className: `mono ${failed ? "no" : "ok"}`, textContent: key }),
    element("time", { className: "mono", textContent: new Date(event.time).toLocaleTimeString() }),
    element("span", { className: "why", textContent: why }));
  const details = element("details", {}, summary, element("pre", { textContent: JSON.stringify(event, null, 2), tabIndex: 0 }));
  $("#events").prepend(element("li", { className: "event new" }, details));
  while ($("#events").children.length > KEPT) $("#events").lastChild.remove();
}

// --- clocks -----------------------------------------------------------------------------------------------------

function clock(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function tick() {
  for (const device of Object.values(devices)) {
    const face = $(".screen .clock", device.element);
    if (face) face.textContent = clock(device.expires - Date.now());
  }
  if (decoded && $("#left")) {
    const left = decoded.claims.exp * 1000 - Date.now();
    $("#left").textContent = left > 0 ? `expires in ${clock(left)}` : "expired";
  }
}

// --- buttons --------------------------------------------------------------------------------------------------

function newUser() {
  const name = crypto.randomUUID().slice(0, 8);
  account.elements.email.value = `walker-${name}@example.com`;
  account.elements.password.value = "a long walk in the hills";
  $("#change-password").elements.new_password.value = "a longer walk by the sea";
  $("#change-email").elements.new_email.value = `${name}-moved@example.com`;
  for (const device of Object.values(devices)) {
    device.tokens = null;
    say(device, "out", "Not logged in");
  }
  [enrolment, appSecret] = [null, null];
  setPending(null);
  setRequested(null);
  setKey(null);
  factor.confirm.disabled = true;
  showEnrolment();
  $("#factor-list").replaceChildren();
  $("#identity-list").replaceChildren();
  $("#key-list").replaceChildren();
  $("#where").hidden = true;
  closeMails();
  offerAutofill();
}

// A button ignores clicks while its request is running; otherwise a second click would send a second request.
function on(button, action) {
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    await action().finally(() => { button.ariaBusy = "false"; });
  });
}

// A login on the other device may have ended this session, so use the device whose session is active.
const activeDevice = () => Object.values(devices).find((device) => device.element.dataset.state === "live");

on(account.elements.register, () => call("POST", `${AUTH}/register`, { body: { email: email(), password: password() } }));
on(account.elements.open, async () => void openMails());
on(account.elements.another, async () => newUser());
for (const device of Object.values(devices)) {
  for (const button of device.element.querySelectorAll("[data-do]")) on(button, () => actions[button.dataset.do](device));
}
cookieSwitch.addEventListener("change", () => enableButtons(devices.laptop));
on(factor.add, addApp);
on(factor.add_passkey, addPasskey);
on(factor.list, listFactors);
on(factor.show, codeNow);
on(factor.confirm, confirmApp);
on(factor.complete, completeLogin);
on(factor.complete_passkey, completeLoginByPasskey);
on(factor.stepup, stepUp);
on(factor.stepup_passkey, stepUpByPasskey);
on(emailLogin.complete, completeByEmail);
on($("[name=list]", providers), listIdentities);
on(apiKey.create, createKey);
on(apiKey.list, listKeys);
on(apiKey.read, readByKey);
on(apiKey.write, writeByKey);
on(factor.erase, async () => void (await call("DELETE", "/api/notes", { device: activeDevice() })));
on($("#change-password button:not([type])"), async () => {
  const made = await call("POST", `${AUTH}/password/change`, { body: { current_password: password(), new_password: newPassword() }, device: activeDevice() });
  if (made.status === 204) account.elements.password.value = newPassword();
  await checkOthers(null);
});
on($("#change-password").elements.reset, async () => {
  await call("POST", `${AUTH}/password/reset`, { body: { email: email() } });
  openMails();
});
on($("#change-email button"), async () => {
  const next = $("#change-email").elements.new_email.value.trim();
  const made = await call("POST", `${AUTH}/email/change`, { body: { new_email: next, password: password() }, device: activeDevice() });
  if (made.status === 202) openMails({ to: next });
});

newUser();
offerProviders();
setInterval(tick, 250);
if (document.body.dataset.events) listen(document.body.dataset.events);
else account.elements.open.disabled = true;
