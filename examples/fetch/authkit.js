// A session of django-ninja-auth-kit in a browser or in Node.js: a `fetch` that sends the access token
// and refreshes it.
// Copy this file and change it as you need. It has no dependencies and no build step.

/**
 * @typedef {{access_token: string, refresh_token: string}} Tokens
 * @typedef {{get(): Tokens | null, set(tokens: Tokens | null): void}} Store
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

export class AuthSession {
  /** @type {Promise<boolean> | null} The running refresh, which all requests wait for. */
  #refreshing = null;

  /**
   * @param {string} base the URL at which the kit is mounted, such as "https://example.com/api/auth"
   * @param {{store?: Store, onSignedOut?: (code: string) => void}} [options]
   */
  constructor(base, { store = memoryStore(), onSignedOut = () => {} } = {}) {
    this.base = base.replace(/\/$/, "");
    this.store = store;
    this.onSignedOut = onSignedOut;
  }

  get isSignedIn() {
    return this.store.get() !== null;
  }

  /** @param {{email?: string, username?: string, password: string}} credentials */
  async login(credentials) {
    this.store.set(await this.#post("login", credentials));
  }

  /** Delete the tokens, even if the network is down, and end the session at the server. */
  async logout() {
    const tokens = this.store.get();
    this.store.set(null);
    if (tokens) await this.#post("logout", { refresh_token: tokens.refresh_token });
  }

  /**
   * Send a request as the global `fetch` does, with the access token. After a 401, refresh once and send it again.
   *
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [options]
   * @returns {Promise<Response>}
   */
  async fetch(input, options) {
    const sent = this.store.get();
    const request = new Request(input, options);
    // A body can be read only once, and the request may be sent again.
    const answer = await this.#send(request.clone(), sent);
    if (answer.status !== 401 || !sent) return answer;
    if (!(await this.#renewed(sent))) return answer;
    return this.#send(request, this.store.get());
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
    if (!tokens) return false;
    if (tokens.access_token !== sent.access_token) return true; // another request or tab has refreshed
    try {
      this.store.set(await this.#post("refresh", { refresh_token: tokens.refresh_token }));
      return true;
    } catch (error) {
      if (error.status !== 401) throw error; // a network error or a busy server does not end the session
      this.store.set(null);
      this.onSignedOut(error.code);
      return false;
    }
  }

  async #post(path, body) {
    const answer = await fetch(`${this.base}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const said = answer.status === 204 ? null : await answer.json().catch(() => ({}));
    if (!answer.ok) throw new AuthError(answer.status, said);
    return said;
  }
}
