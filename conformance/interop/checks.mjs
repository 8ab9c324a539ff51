// What the node scripts share: checks with a deadline, and the `ws` package, which lies in the build folder.
import { createRequire } from "node:module";
import { deepStrictEqual } from "node:assert";

export const WebSocket = createRequire(`${process.env.NODE_MODULES}/`)("ws");

let failed = 0;
let passed = 0;

/** Runs one check; it fails when it throws, or takes longer than `limit` milliseconds. */
export async function check(name, body, limit = 20_000) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limit} ms`)), limit);
  });
  try {
    await Promise.race([body(), deadline]);
    passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}: ${error.message.replaceAll("\n", " ")}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends the script: success only when something was checked and nothing failed. */
export function finish() {
  console.log(`# ${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

export function equal(actual, expected) {
  deepStrictEqual(actual, expected);
}

export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}

/** Looks again and again, at most `limit` milliseconds long, until `condition` gives something true. */
export async function until(what, condition, limit = 15_000) {
  const deadline = performance.now() + limit;
  for (;;) {
    const value = await condition();
    if (value) return value;
    ensure(performance.now() < deadline, `${what}: not within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A connection whose messages wait in a queue until they are asked for. */
export class Peer {
  static async open(url, protocols = [], options = {}) {
    const peer = new Peer(new WebSocket(url, protocols, { maxPayload: 64 << 20, ...options }));
    await peer.opened;
    return peer;
  }

  constructor(socket) {
    this.socket = socket;
    this.queue = [];
    this.waiting = [];
    this.opened = new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        for (const { reject } of this.waiting.splice(0)) reject(new Error(`closed with ${code} ${reason}`));
      });
    });
    socket.on("error", () => {}); // seen as the close that follows
    socket.on("message", (data, isBinary) => {
      const message = { data, isBinary };
      const next = this.waiting.shift();
      if (next) next.resolve(message);
      else this.queue.push(message);
    });
  }

  /** The next message, as it came: `{ data: Buffer, isBinary }`. */
  message() {
    if (this.queue.length > 0) return Promise.resolve(this.queue.shift());
    if (this.socket.readyState === WebSocket.CLOSED) return Promise.reject(new Error("closed"));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async text() {
    const { data, isBinary } = await this.message();
    ensure(!isBinary, "a binary message, not a text");
    return data.toString();
  }

  send(data, options = {}) {
    this.socket.send(data, options);
  }

  pong() {
    return new Promise((resolve) => this.socket.once("pong", resolve));
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }
}
