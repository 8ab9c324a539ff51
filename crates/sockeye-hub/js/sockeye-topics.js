// A client of `sockeye.topics.v1` (docs/topics.md) for browsers and node 22 or later. No dependencies.
//
//   import { Topics } from "./sockeye-topics.js";
//
//   const topics = new Topics("wss://example.com/topics");
//   topics.subscribe("news", {
//     message: ({ data }) => console.log(data),
//     gap: () => console.log("something may be missing here"),
//   });
//   await topics.publish("news", "it rains");
//
// It reconnects by itself, continues each topic where it was, reports no message twice, and calls `gap` where some may be missing.

/** The subprotocol. */
export const PROTOCOL = "sockeye.topics.v1";

/**
 * Why something was not done. `code` is one of the hub's (`denied`, `busy`, ..) or one of these: `unknown` (the message may have reached all
 * subscribers, some or none), `full` (too many publishes wait), `closed` (by `close`), `ended` (the hub ended the subscription),
 * `replaced` (by a newer `authorize`), `token` (the function that gives tokens failed).
 */
export class TopicsError extends Error {
  constructor(code, reason, topic) {
    super(typeof reason === "string" && reason ? `${code}: ${reason}` : code);
    this.name = "TopicsError";
    this.code = code;
    this.reason = typeof reason === "string" ? reason : "";
    this.topic = topic;
  }
}

/**
 * @typedef {{epoch: string, offset: number}} Position
 *
 * @typedef {object} Options
 * @property {string | (() => string | Promise<string>)} [token] shown on each connection; a function is asked each time
 * @property {number} [most] publishes that may wait, for a connection or for their answers (default 1000)
 * @property {number} [firstDelay] milliseconds before the first new attempt (default 500); a random part, at most half, is taken off
 * @property {number} [lastDelay] the longest of them (default 30000); each is twice the one before
 * @property {() => void} [open] a connection is open
 * @property {(why: {code: number, reason: string, delay: number}) => void} [lost] it has ended, or could not be opened; the next attempt is `delay` ms later
 * @property {(error: TopicsError) => void} [error] the token was refused, or a subscription was refused for now and is tried again
 * @property {typeof WebSocket} [WebSocket] the class to use instead of the global one
 *
 * @typedef {object} Handlers
 * @property {Position} [since] continue behind this position, of an earlier page for instance
 * @property {number} [last] begin with so many messages of the history, if there is nothing to continue from
 * @property {(message: {topic: string, data: string | Uint8Array, offset: number, key?: string | Uint8Array}) => void} [message]
 * @property {(gap: {topic: string, after: Position, until: Position}) => void} [gap] messages behind `after`, up to and with `until`, may be missing
 * @property {(at: Position & {topic: string, recovered?: boolean}) => void} [subscribed] on each connection
 * @property {(presence: {topic: string, count: number, joined: number, left: number}) => void} [presence] asks for presence
 * @property {(error: TopicsError) => void} [ended] the hub has refused or ended the subscription
 */

/** A connection to a hub that comes back. */
export class Topics {
  #url;
  #options;
  #socket = null;
  #isOpen = false;
  #isClosed = false;
  #openedAt = 0;
  #attempts = 0;
  #nextId = 1;
  #subscriptions = new Map(); // by topic
  #publishes = new Map(); // by id, in order: { topic, frame, isSent, resolve, reject }
  #token;
  #authorizing = null; // { id, resolve, reject }
  #probe = null; // { id, timer }
  #timer; // of the attempt, or until the next
  #again; // until refused subscriptions are tried again
  #wake = () => this.#lookAround();

  /**
   * Connects, and stays connected until `close`.
   * @param {string | URL} url `ws:` or `wss:`
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    if (!(options.WebSocket ?? globalThis.WebSocket)) throw new TypeError("there is no WebSocket here: give a class in the option `WebSocket`");
    this.#url = url;
    this.#options = { most: 1000, firstDelay: 500, lastDelay: 30_000, WebSocket: globalThis.WebSocket, ...options };
    this.#token = options.token;
    this.#connect();
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  /** Whether there is a connection. */
  get isOpen() {
    return this.#isOpen;
  }

  /**
   * Subscribes to a topic, now and after each break.
   * @param {string} topic
   * @param {Handlers} [handlers]
   * @returns {{readonly topic: string, readonly position: Position | undefined, unsubscribe(): void}} `position` is that of the last message
   */
  subscribe(topic, handlers = {}) {
    if (this.#isClosed) throw new TopicsError("closed", "", topic);
    if (this.#subscriptions.has(topic)) throw new TypeError(`${topic} is subscribed to already`);
    const subscription = { topic, handlers, seen: handlers.since && { ...handlers.since }, id: null, isLive: false, isDue: false };
    this.#subscriptions.set(topic, subscription);
    this.#ask(subscription);
    return {
      topic,
      get position() {
        return subscription.seen && { ...subscription.seen };
      },
      unsubscribe: () => this.#unsubscribe(subscription),
    };
  }

  /**
   * Publishes a text, or bytes. Without a connection it waits for one; what waits is bounded by the option `most`.
   * @param {string} topic
   * @param {string | ArrayBuffer | ArrayBufferView} data
   * @param {{key?: string | Uint8Array}} [options] what a newer message with the same key replaces while it waits for a slow reader
   * @returns {Promise<Position | undefined>} it is in the topic, at this position if the hub knows it. Rejects with a `TopicsError`; if its code
   * is `unknown` the message may have arrived all the same, so publish it again only if twice is better than never.
   */
  publish(topic, data, { key = "" } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new TopicsError("closed", "", topic);
      if (this.#publishes.size >= this.#options.most) throw new TopicsError("full", "too many publishes wait", topic);
      const id = this.#takeId();
      const frame = typeof data === "string" ? textFrame(id, topic, key, data) : binaryFrame(id, topic, key, data);
      const publish = { topic, frame, isSent: false, resolve, reject };
      this.#publishes.set(id, publish);
      this.#sendPublish(publish);
    });
  }

  /**
   * Shows a token, now and on each connection that follows. Subscriptions that were refused have to be made again.
   * @param {string} token
   * @returns {Promise<void>} the hub has accepted it; rejects with a `TopicsError`
   */
  authorize(token) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new TopicsError("closed");
      this.#authorizing?.reject?.(new TopicsError("replaced"));
      this.#token = token;
      this.#authorizing = { id: null, resolve, reject };
      this.#showToken(token);
    });
  }

  /** Ends it. What waits is rejected: with `unknown` if it was sent, else with `closed`. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#abandon(1000);
    for (const { topic, reject } of this.#publishes.values()) reject(new TopicsError("closed", "", topic));
    this.#publishes.clear();
    this.#authorizing?.reject?.(new TopicsError("closed"));
    this.#authorizing = null;
    this.#subscriptions.clear();
  }

  // The connection.

  #connect() {
    const socket = new this.#options.WebSocket(this.#url, PROTOCOL);
    socket.binaryType = "arraybuffer";
    const ours = (act) => (event) => {
      if (this.#socket === socket) act(event);
    };
    socket.onopen = ours(() => this.#opened());
    socket.onmessage = ours(({ data }) => this.#received(data));
    socket.onclose = ours(({ code, reason }) => this.#lost(code, String(reason ?? "")));
    socket.onerror = () => {}; // `onclose` follows
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#fail("it did not open in time"), OPENING);
  }

  async #opened() {
    const socket = this.#socket;
    if (socket.protocol !== PROTOCOL) return this.#fail(`the server does not speak ${PROTOCOL}`);
    this.#openedAt = Date.now();
    let token = this.#token;
    if (typeof token === "function") {
      try {
        token = await token();
      } catch (error) {
        if (this.#socket !== socket) return undefined;
        this.#report(new TopicsError("token", String(error?.message ?? error)));
        return this.#fail("there is no token");
      }
      if (this.#socket !== socket) return;
    }
    clearTimeout(this.#timer);
    this.#isOpen = true;
    if (token !== undefined) this.#showToken(token);
    this.#call(this.#options.open);
    if (this.#socket !== socket) return;
    for (const subscription of this.#subscriptions.values()) if (subscription.id === null) this.#ask(subscription);
    for (const publish of this.#publishes.values()) this.#sendPublish(publish);
  }

  #lost(code, reason) {
    const wasStable = this.#isOpen && Date.now() - this.#openedAt >= STABLE;
    this.#forget();
    this.#attempts = wasStable ? 0 : this.#attempts;
    const full = Math.min(this.#options.firstDelay * 2 ** this.#attempts, this.#options.lastDelay);
    this.#attempts += 1;
    const delay = Math.round(full * (1 - Math.random() / 2));
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#call(this.#options.lost, { code, reason, delay });
  }

  /** Everything that belongs to this connection. */
  #forget() {
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
    clearTimeout(this.#probe?.timer);
    this.#again = undefined;
    this.#probe = null;
    this.#socket = null;
    this.#isOpen = false;
    if (this.#authorizing) this.#authorizing.id = null;
    for (const subscription of this.#subscriptions.values()) Object.assign(subscription, { id: null, isLive: false, isDue: false });
    for (const [id, { topic, isSent, reject }] of this.#publishes) {
      if (!isSent) continue;
      this.#publishes.delete(id);
      reject(new TopicsError("unknown", "the connection was lost before the answer", topic));
    }
  }

  /** Leaves the connection without waiting for the server, which may be unreachable. */
  #abandon(code) {
    const socket = this.#socket;
    this.#forget();
    socket?.close(code);
  }

  /** What the server did cannot be; or it does nothing. */
  #fail(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket.close(BROKEN);
  }

  /** The network is back, or the page is: do not wait for the next attempt, and see whether the connection is one. */
  #lookAround() {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.#socket === null) {
      clearTimeout(this.#timer);
      // Not all pages of a building at once.
      this.#timer = setTimeout(() => this.#connect(), Math.round(Math.random() * SOON));
    } else if (this.#isOpen && this.#probe === null) {
      // A request that changes nothing, and has an answer.
      const id = this.#request({ type: "unsubscribe", topic: `sockeye-topics ${Math.random()}` });
      this.#probe = { id, timer: setTimeout(() => this.#fail("the server does not answer"), ANSWER) };
    }
  }

  // Requests.

  #takeId() {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  #request(members) {
    const id = this.#takeId();
    this.#socket.send(JSON.stringify({ ...members, id }));
    return id;
  }

  #ask(subscription) {
    if (!this.#isOpen) return;
    const { topic, seen, handlers } = subscription;
    const presence = handlers.presence ? true : undefined;
    subscription.isDue = false;
    subscription.id = this.#request({ type: "subscribe", topic, since: seen, last: handlers.last, presence });
  }

  #unsubscribe(subscription) {
    if (this.#subscriptions.get(subscription.topic) !== subscription) return;
    this.#subscriptions.delete(subscription.topic);
    if (this.#isOpen) this.#request({ type: "unsubscribe", topic: subscription.topic });
  }

  #sendPublish(publish) {
    if (!this.#isOpen || publish.isSent) return;
    publish.isSent = true;
    this.#socket.send(publish.frame);
    publish.frame = null;
  }

  #showToken(token) {
    if (!this.#isOpen) return;
    this.#authorizing ??= {};
    this.#authorizing.id = this.#request({ type: "authorize", token });
  }

  // What the server sends.

  #received(data) {
    try {
      if (typeof data === "string") this.#receivedText(JSON.parse(data));
      else this.#receivedBytes(new Uint8Array(data));
    } catch (error) {
      this.#fail(`the server does not speak ${PROTOCOL}: ${error.message}`);
    }
  }

  #receivedText(message) {
    switch (text(message?.type)) {
      case "message":
        if (message.key !== undefined) text(message.key);
        return this.#message(text(message.topic), number(message.offset), number(message.previous), text(message.data), message.key);
      case "subscribed":
        return this.#subscribed(text(message.topic), number(message.id), position(message), message.recovered === true);
      case "gap":
        return this.#gap(text(message.topic), position(message));
      case "published": {
        const at = message.epoch === undefined || message.offset === undefined ? undefined : position(message);
        return this.#takePublish(message.id)?.resolve(at);
      }
      case "unknown": {
        const publish = this.#takePublish(message.id);
        return publish?.reject(new TopicsError("unknown", message.reason, publish.topic));
      }
      case "error":
        return this.#refused(message.id, text(message.code), message.reason);
      case "unsubscribed":
        return this.#unsubscribed(text(message.topic), message.id, message.reason);
      case "authorized":
        if (this.#authorizing?.id !== number(message.id)) return;
        this.#authorizing.resolve?.();
        this.#authorizing = null;
        return;
      case "presence": {
        const [topic, count, joined, left] = [text(message.topic), ...[message.count, message.joined, message.left].map(number)];
        return this.#call(this.#subscriptions.get(topic)?.handlers.presence, { topic, count, joined, left });
      }
    }
  }

  #receivedBytes(bytes) {
    if (bytes[0] !== 2) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const topicEnd = 21 + view.getUint16(1);
    const keyEnd = topicEnd + view.getUint16(3);
    const [offset, previous] = [5, 13].map((at) => number(Number(view.getBigUint64(at))));
    if (keyEnd > bytes.length) throw new TypeError("a binary message is too short");
    const topic = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(21, topicEnd));
    const key = keyEnd > topicEnd ? bytes.subarray(topicEnd, keyEnd) : undefined;
    this.#message(topic, offset, previous, bytes.subarray(keyEnd), key);
  }

  #message(topic, offset, previous, data, key) {
    if (previous >= offset) throw new TypeError("a message is not behind the one before it");
    const subscription = this.#live(topic);
    // Nothing twice.
    if (!subscription || offset <= subscription.seen.offset) return;
    const after = subscription.seen;
    subscription.seen = { epoch: after.epoch, offset };
    // One that is smaller names a message of before, which the server numbered before this client came back.
    if (previous > after.offset) {
      this.#call(subscription.handlers.gap, { topic, after, until: { epoch: after.epoch, offset: previous } });
      // Its handler may have unsubscribed.
      if (this.#live(topic) !== subscription) return;
    }
    this.#call(subscription.handlers.message, { topic, data, offset, ...(key === undefined ? {} : { key }) });
  }

  #subscribed(topic, id, at, recovered) {
    const subscription = this.#subscriptions.get(topic);
    if (!subscription || subscription.id !== id || subscription.isLive) return;
    subscription.isLive = true;
    const after = subscription.seen;
    subscription.seen = further(after, at);
    if (!after) return this.#call(subscription.handlers.subscribed, { topic, ...at });
    // Who says so and begins behind what was seen contradicts itself.
    const isRecovered = recovered && at.epoch === after.epoch && at.offset <= after.offset;
    this.#call(subscription.handlers.subscribed, { topic, ...at, recovered: isRecovered });
    if (!isRecovered && this.#live(topic) === subscription) this.#call(subscription.handlers.gap, { topic, after, until: at });
  }

  #gap(topic, until) {
    const subscription = this.#live(topic);
    if (!subscription) return;
    const after = subscription.seen;
    subscription.seen = further(after, until);
    this.#call(subscription.handlers.gap, { topic, after, until });
  }

  #takePublish(id) {
    const publish = this.#publishes.get(id);
    if (!publish?.isSent) return undefined;
    this.#publishes.delete(id);
    return publish;
  }

  #refused(id, code, reason) {
    const publish = this.#takePublish(id);
    if (publish) return publish.reject(new TopicsError(code, reason, publish.topic));
    const isForNow = code === "busy" || code === "unavailable";
    if (id !== undefined && this.#authorizing?.id === id) {
      const { reject } = this.#authorizing;
      this.#authorizing = null;
      // One that was refused is not shown again; a function may have another one.
      if (!isForNow && typeof this.#token !== "function") this.#token = undefined;
      const error = new TopicsError(code, reason);
      return reject ? reject(error) : this.#report(error);
    }
    if (id !== undefined && this.#probe?.id === id) return this.#answered();
    const subscription = [...this.#subscriptions.values()].find((one) => one.id === id && !one.isLive && id !== undefined);
    const error = new TopicsError(code, reason, subscription?.topic);
    if (!subscription) return this.#report(error);
    if (!isForNow) {
      this.#subscriptions.delete(subscription.topic);
      return this.#call(subscription.handlers.ended, error);
    }
    subscription.isDue = true;
    this.#again ??= setTimeout(() => this.#askAgain(), Math.round(AGAIN * (1 + Math.random())));
    this.#report(error);
  }

  #askAgain() {
    this.#again = undefined;
    for (const subscription of this.#subscriptions.values()) if (subscription.isDue) this.#ask(subscription);
  }

  #unsubscribed(topic, id, reason) {
    if (id !== undefined) {
      if (this.#probe?.id === id) this.#answered();
      return;
    }
    const subscription = this.#live(topic);
    if (!subscription) return;
    this.#subscriptions.delete(topic);
    this.#call(subscription.handlers.ended, new TopicsError("ended", reason, topic));
  }

  #answered() {
    clearTimeout(this.#probe.timer);
    this.#probe = null;
  }

  /** The subscription that the server has confirmed on this connection. */
  #live(topic) {
    const subscription = this.#subscriptions.get(topic);
    return subscription?.isLive ? subscription : undefined;
  }

  #report(error) {
    this.#call(this.#options.error, error);
  }

  /** An error of the program is its own: it is reported as uncaught, and costs no message. */
  #call(handler, argument) {
    try {
      handler?.(argument);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Not back: what is there was seen. */
function further(seen, at) {
  return seen?.epoch === at.epoch && seen.offset > at.offset ? seen : at;
}

function text(value) {
  if (typeof value !== "string") throw new TypeError("a member is not a string");
  return value;
}

function number(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError("a member is not a whole number below 2^53");
  return value;
}

function position({ epoch, offset }) {
  if (text(epoch).length === 0 || epoch.length > 256) throw new TypeError("an epoch has 1 to 256 characters");
  return { epoch, offset: number(offset) };
}

function textFrame(id, topic, key, data) {
  if (typeof key !== "string") throw new TypeError("the key of a text is a string");
  return JSON.stringify({ type: "publish", id, topic, data, key: key === "" ? undefined : key });
}

function binaryFrame(id, topic, key, data) {
  const encoder = new TextEncoder();
  const [topicBytes, keyBytes] = [topic, key].map((part) => (typeof part === "string" ? encoder.encode(part) : part));
  if (topicBytes.length > 65_535 || keyBytes.length > 65_535) throw new TypeError("a topic or a key has more than 65535 bytes");
  const payload = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  const frame = new Uint8Array(13 + topicBytes.length + keyBytes.length + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, 1);
  view.setUint16(1, topicBytes.length);
  view.setUint16(3, keyBytes.length);
  view.setBigUint64(5, BigInt(id));
  frame.set(topicBytes, 13);
  frame.set(keyBytes, 13 + topicBytes.length);
  frame.set(payload, 13 + topicBytes.length + keyBytes.length);
  return frame;
}

// Times in milliseconds.

/** For opening a connection. */
const OPENING = 15_000;
/** A connection that was open for so long was a good one: the delays begin anew. */
const STABLE = 10_000;
/** For the answer that shows whether a connection still is one. */
const ANSWER = 5_000;
/** When the network is back. */
const SOON = 300;
/** Before a subscription that was refused for now is tried again; twice as long at most. */
const AGAIN = 2_000;
/** The close code for a server that does not speak the sub-protocol. */
const BROKEN = 4002;
