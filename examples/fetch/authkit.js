// A session of django-ninja-auth-kit in a browser or in Node.js: a `fetch` that sends the access token
// and refreshes it.
// Copy this file and change it as you need. It has no dependencies and no build step.

/**
 * @typedef {{access_token: string, refresh_token?: string}} Tokens in cookie mode, without the refresh token
 * @typedef {{get(): Tokens | null, set(tokens: Tokens | null): void}} Store
 * @typedef {{challenge_token: string, methods: string[]}} Pending a login that waits for a second factor
 * @typedef {{acr_values?: string, max_age?: number}} Required what a route requires of the user (RFC 9470)
 */

/**
 * Keep tokens in memory. They are lost when the tab is closed, and other scripts cannot read them.
 * @returns {Store}
 */
export function memoryStore() {
  let kept = null;
  return { get: () => kept, set: (tokens) => { kept = tokens; } };
}

/**
 * Share tokens with all tabs of the site. A script that is injected into the site can read them.
 * @returns {Store}
 */
export function localStore(key = "authkit") {
  return {
    get: () => JSON.parse(localStorage.getItem(key) ?? "null"),
    set: (tokens) => (tokens ? localStorage.setItem(key, JSON.stringify(tokens)) : localStorage.removeItem(key)),
  };
}

/** An error response of the API; `code` is for programs, `message` for people. */
export class AuthError extends Error {
  /**
   * @param {number} status
   * @param {{detail?: string, code?: string, errors?: {field: string, code: string, message: string}[]}} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = problem.code;
    this.errors = problem.errors ?? [];
  }
}

/** Return the path of a method such as "recovery_code". */
const path = (method) => method.replaceAll("_", "-");

/** Return what a route requires of the user, or null if the 401 has another reason. A clone leaves the body unread. */
async function insufficient(answer) {
  const said = await answer.clone().json().catch(() => ({}));
  return said?.code === "insufficient_user_authentication" ? said : null;
}

export class AuthSession {
  /** @type {Promise<boolean> | null} The running refresh, which all requests wait for. */
  #refreshing = null;

  /** @type {Promise<boolean> | null} The running step-up, which all requests wait for. */
  #steppingUp = null;

  /**
   * @param {string} base the URL at which the kit is mounted, such as "https://example.com/api/auth"
   * @param {{store?: Store, onSignedOut?: (code: string) => void, cookies?: boolean,
   *   onStepUp?: (required: Required) => Promise<boolean>}} [options] `cookies`: keep the refresh token in a cookie; the
   *   server needs `ninja_auth_kit.contrib.cookies`. `onStepUp` asks the user for a proof, calls `stepUp`, and returns
   *   whether the request is to be sent again
   */
  constructor(
    base,
    { store = memoryStore(), onSignedOut = () => {}, cookies = false, onStepUp = async () => false } = {},
  ) {
    this.base = base.replace(/\/$/, "");
    this.store = store;
    this.onSignedOut = onSignedOut;
    this.cookies = cookies;
    this.onStepUp = onStepUp;
  }

  get isSignedIn() {
    return this.store.get() !== null;
  }

  /**
   * Log in. If a second factor is due, there are no tokens yet: pass the result to `completeLogin`.
   *
   * @param {{email?: string, username?: string, password: string}} credentials
   * @returns {Promise<Pending | null>}
   */
  async login(credentials) {
    const said = await this.#post("login", credentials);
    if (said.status === "factor_required") return said;
    this.store.set(said);
    return null;
  }

  /**
   * Complete a login that waits for a second factor.
   *
   * @param {Pending} pending
   * @param {string} method one of `pending.methods`, such as "totp"
   * @param {string} code
   */
  async completeLogin(pending, method, code) {
    this.store.set(await this.#post(`login/${path(method)}`, { challenge_token: pending.challenge_token, code }));
  }

  /**
   * Prove more, or prove it again. The new access token has the level until it expires or is refreshed.
   *
   * @param {string} method one of the methods that `GET step-up` lists
   * @param {{code: string} | {password: string}} proof
   */
  async stepUp(method, proof) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(proof) };
    const answer = await this.fetch(`${this.base}/step-up/${path(method)}`, options);
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new AuthError(answer.status, said);
    this.store.set({ ...this.store.get(), access_token: said.access_token });
  }

  /** Delete the tokens, even if the network is down, and end the session at the server. */
  async logout() {
    const tokens = this.store.get();
    this.store.set(null);
    if (tokens || this.cookies) await this.#post("logout", { refresh_token: tokens?.refresh_token });
  }

  /** In cookie mode: get an access token if there is a session, which a reload has not ended. Return whether there is. */
  async restore() {
    if (this.cookies && !this.isSignedIn) await this.#renewed(null);
    return this.isSignedIn;
  }

  /**
   * Send a request as the global `fetch` does, with the access token. After a 401, refresh once and send it again. If
   * the route requires a step-up, call `onStepUp` and send it again.
   *
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [options]
   * @returns {Promise<Response>}
   */
  async fetch(input, options) {
    const request = new Request(input, options);
    let refreshed = false, steppedUp = false;
    for (;;) {
      const sent = this.store.get();
      const answer = await this.#send(request.clone(), sent); // a body can be read only once
      if (answer.status !== 401 || !sent) return answer;
      const required = await insufficient(answer);
      if (!required) {
        if (refreshed || !(await this.#renewed(sent))) return answer;
        refreshed = true;
      } else if (this.store.get()?.access_token === sent.access_token) {
        if (steppedUp || !(await this.#steppedUp(required))) return answer;
        steppedUp = true;
      } // otherwise another request or tab has newer tokens, which are tried first
    }
  }

  /** Return whether the user has proved what is required. At most one step-up runs at a time. */
  #steppedUp(required) {
    this.#steppingUp ??= this.onStepUp(required).finally(() => { this.#steppingUp = null; });
    return this.#steppingUp;
  }

  #send(request, tokens) {
    if (tokens) request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
    return fetch(request);
  }

  /** Return whether there are newer tokens than those that were sent. At most one refresh runs at a time. */
  #renewed(sent) {
    this.#refreshing ??= this.#alone(() => this.#refresh(sent)).finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  /** Run in one tab at a time, if the browser supports Web Locks. */
  #alone(work) {
    return globalThis.navigator?.locks ? navigator.locks.request(`authkit ${this.base}`, work) : work();
  }

  async #refresh(sent) {
    const tokens = this.store.get();
    if (!tokens && sent) return false; // logged out since the request was sent
    if (tokens && tokens.access_token !== sent?.access_token) return true; // another request or tab has refreshed
    try {
      this.store.set(await this.#post("refresh", { refresh_token: tokens?.refresh_token }));
      return true;
    } catch (error) {
      if (error.status !== 401) throw error; // a network error or a busy server does not end the session
      this.store.set(null);
      if (tokens) this.onSignedOut(error.code);
      return false;
    }
  }

  async #post(path, body) {
    const answer = await fetch(`${this.base}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(this.cookies && { "X-AuthKit-Transport": "cookie" }) },
      credentials: this.cookies ? "include" : "same-origin",
      body: JSON.stringify(body),
    });
    const said = answer.status === 204 ? null : await answer.json().catch(() => ({}));
    if (!answer.ok) throw new AuthError(answer.status, said);
    return said;
  }
}
