// The page at `/`: every button sends one request to the API and shows it with its response.
// There is no framework and no build step. Responses are inserted only as text, never as HTML.

const AUTH = "/api/auth";
const KEPT = 40; // requests and events that stay on the page
const MAIL_PATIENCE = 10_000; // milliseconds

const $ = (selector, root = document) => root.querySelector(selector);
const account = $("#account");

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

// --- requests -------------------------------------------------------------------------------------------------

async function call(method, path, { body, device, bearer = true, quiet = false } = {}) {
  const id = `page-${crypto.randomUUID().slice(0, 13)}`;
  const headers = { "X-Request-ID": id };
  if (body) headers["Content-Type"] = "application/json";
  if (bearer && device?.tokens) headers.Authorization = `Bearer ${device.tokens.access_token}`;
  const made = { id, method, path, headers, body, device: device?.id, status: 0, statusText: "no response", answer: null };
  names.set(id, `${method} ${path.replace(AUTH, "")}${device ? ` on the ${device.id}` : ""}`);
  try {
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
    const text = await response.text();
    Object.assign(made, { status: response.status, statusText: response.statusText });
    made.type = response.headers.get("Content-Type") ?? "";
    made.answer = text && made.type.includes("json") ? JSON.parse(text) : text;
  } catch (error) {
    made.answer = String(error);
  }
  calls.unshift(made);
  calls.length = Math.min(calls.length, KEPT);
  if (!quiet || !shown) show(made);
  else listCalls();
  return made;
}

// --- request and response -----------------------------------------------------------------------------------------

function show(made) {
  shown = made;
  const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
  const headers = Object.entries(made.headers).map(([name, value]) => `${name}: ${value}`);
  const request = [`${made.method} ${made.path} HTTP/1.1`, ...headers, made.body ? `\n${json(made.body)}` : ""].join("\n");
  const status = element("span", { className: `status ${tone(made)}`, textContent: `HTTP/1.1 ${made.status} ${made.statusText}` });
  const answer = element("pre", { tabIndex: 0 }, status, made.type ? `\nContent-Type: ${made.type}` : "", made.answer ? `\n\n${json(made.answer)}` : "");
  $("#exchange").replaceChildren(element("pre", { textContent: request.trimEnd(), tabIndex: 0 }), answer);
  const token = made.answer?.access_token ?? made.headers.Authorization?.slice("Bearer ".length);
  if (token) decode(token);
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
  for (const button of device.element.querySelectorAll("[data-do]:not([data-do=login])")) button.disabled = !device.tokens;
  device.element.classList.toggle("struck", struck);
  tick();
}

function take(device, tokens) {
  device.tokens = tokens;
  device.expires = Date.now() + tokens.expires_in * 1000;
  say(device, "live", "Logged in", email());
}

// The response of the API decides what the device shows.
function showIfEnded(device, made) {
  if (made.status === 401 && device.tokens) say(device, "ended", "Logged out", made.answer?.detail, `401 ${made.answer?.code}`);
}

function refuse(device, made) {
  const state = device.tokens ? device.element.dataset.state : "out";
  say(device, state, "Login rejected", made.answer?.detail ?? String(made.answer), `${made.status} ${made.answer?.code ?? ""}`);
}

const actions = {
  async login(device) {
    const made = await call("POST", `${AUTH}/login`, { body: { email: email(), password: password() }, device, bearer: false });
    if (made.status !== 200) return refuse(device, made);
    take(device, made.answer);
    await checkOthers(device);
  },
  async notes(device) {
    showIfEnded(device, await call("POST", "/api/notes", { body: { text: `from the ${device.id}` }, device }));
  },
  async refresh(device) {
    const made = await call("POST", `${AUTH}/refresh`, { body: { refresh_token: device.tokens.refresh_token }, device, bearer: false });
    if (made.status === 200) take(device, made.answer);
    else showIfEnded(device, made);
  },
  async sessions(device) {
    const made = await call("GET", `${AUTH}/sessions`, { device });
    showIfEnded(device, made);
    if (made.status === 200) listSessions(device, made.answer);
  },
  async logout(device) {
    await call("POST", `${AUTH}/logout`, { body: { refresh_token: device.tokens.refresh_token }, device });
    device.tokens = null;
    say(device, "out", "Logged out");
  },
};

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
  $("#where").hidden = true;
  closeMails();
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
setInterval(tick, 250);
if (document.body.dataset.events) listen(document.body.dataset.events);
else account.elements.open.disabled = true;
