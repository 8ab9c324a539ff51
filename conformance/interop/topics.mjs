// The JavaScript client of hubs, against a server that does what a script says, on a clock that the script moves.
import { mock } from "node:test";

import { PROTOCOL, Topics, TopicsError } from "../../crates/sockeye-hub/js/sockeye-topics.js";
import { check, ensure, equal, finish } from "./checks.mjs";

/** What the client takes for a WebSocket: it keeps what was sent, and says what it is told to. */
class Fake {
  static all = [];

  constructor(url, protocol) {
    Object.assign(this, { url, offered: protocol, protocol: "", sent: [], code: undefined });
    Fake.all.push(this);
  }

  static last() {
    return Fake.all.at(-1);
  }

  send(frame) {
    this.sent.push(typeof frame === "string" ? JSON.parse(frame) : frame);
    if (this.sent.at(-1).type === "subscribe") this.asked = this.sent.at(-1);
  }

  close(code) {
    this.code = code ?? 1005;
  }

  open(protocol = PROTOCOL) {
    this.protocol = protocol;
    this.onopen({});
    return this;
  }

  says(message) {
    this.onmessage({ data: typeof message === "string" || message instanceof ArrayBuffer ? message : JSON.stringify(message) });
  }

  /** Confirms the subscription that was asked for last. */
  confirms(epoch, offset, more = {}) {
    const { id, topic } = this.asked;
    this.says({ type: "subscribed", id, topic, epoch, offset, ...more });
  }

  tells(offset, previous, data = `${offset}`, more = {}) {
    this.says({ type: "message", topic: "news", offset, previous, data, ...more });
  }

  drop(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }

  taken() {
    return this.sent.splice(0);
  }
}

/** A check with a clock of its own, and no chance. */
function timed(name, body) {
  return check(name, async () => {
    Fake.all = [];
    const { random } = Math;
    Math.random = () => 0.5;
    mock.timers.enable({ apis: ["setTimeout", "Date"] });
    try {
      await body();
    } finally {
      mock.timers.reset();
      Math.random = random;
    }
  });
}

const tick = (time) => mock.timers.tick(time);

/** What was asked, without the ids. */
const asked = (socket) => socket.taken().map(({ id, ...rest }) => (ensure(Number.isSafeInteger(id), "an id"), rest));

/** A client whose topic is at `a:41`, and everything that it reports. */
function subscribed(options = {}, handlers = {}) {
  const events = [];
  const log = (name) => (event) => events.push([name, event]);
  const topics = new Topics("ws://hub/", { WebSocket: Fake, lost: log("lost"), error: log("error"), ...options });
  const news = topics.subscribe("news", {
    message: ({ offset }) => events.push(offset),
    gap: log("gap"),
    subscribed: log("subscribed"),
    ended: log("ended"),
    ...handlers,
  });
  const socket = Fake.last().open();
  socket.confirms("a", 41);
  equal(events.splice(0), handlers.subscribed ? [] : [["subscribed", { topic: "news", epoch: "a", offset: 41 }]]);
  socket.taken();
  return { topics, news, socket, events };
}

const gap = (after, until) => ["gap", { topic: "news", after: { epoch: after[0], offset: after[1] }, until: { epoch: until[0], offset: until[1] } }];

async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    ensure(error instanceof TopicsError, `${error}`);
    return [error.code, error.reason];
  }
  throw new Error("it was not rejected");
}

await timed("what is wanted is asked for when there is a connection", () => {
  let opened = 0;
  const topics = new Topics("ws://hub/", { WebSocket: Fake, token: "secret", open: () => (opened += 1) });
  topics.subscribe("news", { last: 5, since: { epoch: "a", offset: 3 }, presence() {} });
  topics.subscribe("weather");
  const socket = Fake.last();
  equal([socket.url, socket.offered, socket.binaryType], ["ws://hub/", PROTOCOL, "arraybuffer"]);
  equal([socket.taken(), topics.isOpen, opened], [[], false, 0]);
  socket.open();
  equal([topics.isOpen, opened], [true, 1]);
  equal(asked(socket), [
    { type: "authorize", token: "secret" },
    { type: "subscribe", topic: "news", since: { epoch: "a", offset: 3 }, last: 5, presence: true },
    { type: "subscribe", topic: "weather" },
  ]);
  topics.subscribe("sport");
  equal(asked(socket), [{ type: "subscribe", topic: "sport" }]);
  let refused;
  try {
    topics.subscribe("sport");
  } catch (error) {
    refused = error;
  }
  ensure(refused instanceof TypeError, "twice");
  topics.close();
  equal([socket.code, topics.isOpen], [1000, false]);
});

await timed("messages arrive once, and a hole is reported", () => {
  const { news, socket, events } = subscribed();
  // The last one names a message of before: its server knows less of the past than this client, and nothing is missing.
  for (const [offset, previous] of [[43, 41], [43, 41], [42, 41], [50, 45], [51, 50], [60, 44]]) socket.tells(offset, previous);
  equal(events, [43, gap(["a", 43], ["a", 45]), 50, 51, 60]);
  equal(news.position, { epoch: "a", offset: 60 });
});

await timed("after a break it goes on where it was", () => {
  const { socket, events } = subscribed();
  socket.tells(42, 41);
  socket.drop(1012, "restart");
  equal(events.splice(0), [42, ["lost", { code: 1012, reason: "restart", delay: 375 }]]);
  tick(374);
  equal(Fake.all.length, 1);
  tick(1);
  const next = Fake.last().open();
  equal(asked(next), [{ type: "subscribe", topic: "news", since: { epoch: "a", offset: 42 } }]);
  // What comes before the answer, or from the old connection, is of no subscription.
  next.says({ type: "message", topic: "news", offset: 43, previous: 42, data: "x" });
  socket.tells(43, 42);
  equal(events, []);
  next.confirms("a", 42, { recovered: true });
  socket.tells(43, 42);
  socket.drop();
  next.tells(43, 42);
  equal(events.slice(1), [43]);
});

await timed("recovered means nothing is missing, and everything else is a gap", () => {
  for (const [answer, recovered] of [
    [["a", 41, { recovered: true }], true],
    [["a", 30, { recovered: true }], true],
    [["a", 60, { recovered: false }], false],
    [["b", 3, { recovered: false }], false],
    [["b", 3, { recovered: true }], false],
    [["a", 41, {}], false],
    [["a", 42, { recovered: true }], false],
  ]) {
    const { topics, socket, events } = subscribed();
    socket.drop();
    tick(1000);
    events.splice(0);
    const next = Fake.last().open();
    next.confirms(...answer);
    const [epoch, offset] = answer;
    const begun = ["subscribed", { topic: "news", epoch, offset, recovered }];
    equal(events.splice(0), recovered ? [begun] : [begun, gap(["a", 41], [epoch, offset])]);
    const base = epoch === "a" ? Math.max(offset, 41) : offset;
    next.tells(base, base - 1);
    next.tells(base + 1, base);
    equal(events, [base + 1], `${answer}`);
    topics.close();
  }
});

await timed("a gap that the hub reports", () => {
  const { news, socket, events } = subscribed();
  socket.says({ type: "gap", topic: "news", epoch: "b", offset: 7 });
  socket.tells(8, 7);
  socket.says({ type: "gap", topic: "news", epoch: "b", offset: 2 });
  socket.tells(8, 2);
  equal(events, [gap(["a", 41], ["b", 7]), 8, gap(["b", 8], ["b", 2])]);
  equal(news.position, { epoch: "b", offset: 8 });
});

await timed("delays grow up to a limit, and begin anew after a good connection", () => {
  const delays = [];
  const topics = new Topics("ws://hub/", { WebSocket: Fake, lastDelay: 3000, lost: ({ delay }) => delays.push(delay) });
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    equal(Fake.all.length, attempt);
    Fake.last().drop();
    tick(delays.at(-1));
  }
  equal(delays.splice(0), [375, 750, 1500, 2250, 2250]);
  Fake.last().open();
  tick(9_999);
  Fake.last().drop();
  tick(2250);
  Fake.last().open();
  tick(10_000);
  Fake.last().drop();
  equal(delays, [2250, 375]);
  topics.close();
  tick(100_000);
  equal(Fake.all.length, 7, "a closed one does not come back");
});

await timed("one that does not open in time, or speaks something else, is left", () => {
  const reasons = [];
  const topics = new Topics("ws://hub/", { WebSocket: Fake, lost: ({ reason }) => reasons.push(reason) });
  tick(15_000);
  equal([reasons.splice(0), Fake.last().code], [["it did not open in time"], 4002]);
  tick(375);
  Fake.last().open("");
  equal([reasons[0].includes(PROTOCOL), Fake.last().code, topics.isOpen], [true, 4002, false]);
  topics.close();
});

await timed("when the network is back it does not wait", () => {
  const listeners = {};
  globalThis.addEventListener = (name, act) => (listeners[name] = act);
  globalThis.removeEventListener = (name, act) => ensure(listeners[name] === act && delete listeners[name], name);
  try {
    const { topics, socket, events } = subscribed({ firstDelay: 20_000 });
    // A connection that answers is one.
    listeners.online();
    listeners.online();
    const [probe, ...more] = socket.taken();
    equal([probe.type, more.length], ["unsubscribe", 0]);
    socket.says({ type: "unsubscribed", id: probe.id, topic: probe.topic });
    tick(5_000);
    equal(events, []);
    // One that does not is none.
    listeners.online();
    tick(5_000);
    equal(events.splice(0), [["lost", { code: 1006, reason: "the server does not answer", delay: 15_000 }]]);
    equal([socket.code, Fake.all.length], [4002, 1]);
    listeners.online();
    tick(150);
    equal(Fake.all.length, 2);
    tick(14_000);
    equal(Fake.all.length, 2, "the attempt that was planned is not made, too");
    topics.close();
    equal(listeners, {});
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

await timed("a publish has one end", async () => {
  const { topics, socket } = subscribed();
  const sent = ["a", "b", "c", "d", "e"].map((data) => topics.publish("news", data, data === "a" ? { key: "k" } : {}));
  const frames = socket.taken();
  const { id: first, ...request } = frames[0];
  equal(request, { type: "publish", topic: "news", data: "a", key: "k" });
  const ids = frames.map(({ id }) => id);
  socket.says({ type: "published", id: first, epoch: "a", offset: 50 });
  socket.says({ type: "published", id: ids[1] });
  socket.says({ type: "unknown", id: ids[2], reason: "broker" });
  socket.says({ type: "error", id: ids[3], code: "denied", reason: "no" });
  socket.says({ type: "published", id: 999_999 });
  equal([await sent[0], await sent[1]], [{ epoch: "a", offset: 50 }, undefined]);
  equal([await rejection(sent[2]), await rejection(sent[3])], [["unknown", "broker"], ["denied", "no"]]);
  socket.drop();
  equal((await rejection(sent[4]))[0], "unknown");
});

await timed("without a connection a bounded number of publishes waits", async () => {
  const topics = new Topics("ws://hub/", { WebSocket: Fake, most: 2 });
  const waiting = [topics.publish("a", "1"), topics.publish("a", new Uint8Array([1]))];
  equal((await rejection(topics.publish("a", "3")))[0], "full");
  Fake.last().drop();
  tick(375);
  const socket = Fake.last().open();
  const [one, two] = socket.taken();
  equal([one.data, two[0]], ["1", 1]);
  socket.says({ type: "published", id: one.id });
  await waiting[0];
  const more = topics.publish("a", "4");
  socket.drop();
  equal((await rejection(more))[0], "unknown");
  equal((await rejection(waiting[1]))[0], "unknown");
  const last = topics.publish("a", "5");
  topics.close();
  equal(await rejection(last), ["closed", ""]);
  equal(await rejection(topics.publish("a", "6")), ["closed", ""]);
});

await timed("bytes go and come as bytes", () => {
  const seen = [];
  const { topics, socket } = subscribed({}, { message: (message) => seen.push(message) });
  const buffer = new Uint8Array([9, 0, 255, 9]);
  topics.publish("né", buffer.subarray(1, 3), { key: "key" }).catch(() => {});
  const [frame] = socket.taken();
  const id = Number(new DataView(frame.buffer).getBigUint64(5));
  equal([...frame], [1, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0, id, 0x6e, 0xc3, 0xa9, 0x6b, 0x65, 0x79, 0, 255]);
  topics.publish("a", new Uint16Array([1]).buffer).catch(() => {});
  equal([...socket.taken()[0].subarray(13)], [0x61, 1, 0]);

  const arriving = (offset, previous, key) => {
    const bytes = [2, 0, 4, 0, key.length, ...[offset, previous].flatMap((number) => [0, 0, 0, 0, 0, 0, 0, number])];
    return Uint8Array.from([...bytes, ...new TextEncoder().encode(`news${key}`), 7, 255]).buffer;
  };
  socket.says(arriving(42, 41, ""));
  socket.says(arriving(43, 42, "k"));
  socket.says(arriving(43, 42, "k"));
  equal(seen, [
    { topic: "news", data: Uint8Array.from([7, 255]), offset: 42 },
    { topic: "news", data: Uint8Array.from([7, 255]), offset: 43, key: Uint8Array.from([0x6b]) },
  ]);
  socket.says(Uint8Array.from([3, 1]).buffer);
  equal(socket.code, undefined, "another version's");
  topics.close();
});

await timed("tokens are shown, refused and replaced", async () => {
  const { topics, socket, events } = subscribed();
  const one = topics.authorize("one");
  const two = topics.authorize("two");
  const [, { id, token }] = socket.taken();
  equal([token, (await rejection(one))[0]], ["two", "replaced"]);
  // It was not answered: the next connection shows it again.
  socket.drop();
  tick(1000);
  const next = Fake.last().open();
  const shown = next.taken()[0];
  equal([shown.type, shown.token, shown.id === id], ["authorize", "two", false]);
  next.says({ type: "authorized", id: shown.id });
  await two;
  next.drop();
  tick(1000);
  const third = Fake.last().open();
  events.splice(0);
  third.says({ type: "error", id: third.taken()[0].id, code: "denied", reason: "old" });
  equal([events[0][0], events[0][1].code], ["error", "denied"]);
  third.drop();
  tick(2000);
  equal(asked(Fake.last().open())[0].type, "subscribe", "a refused token is not shown again");
  const three = topics.authorize("three");
  topics.close();
  equal((await rejection(three))[0], "closed");
});

await timed("a function gives a token for each connection", async () => {
  let count = 0;
  const errors = [];
  const token = async () => {
    count += 1;
    if (count === 2) throw new Error("no network");
    return `token ${count}`;
  };
  const topics = new Topics("ws://hub/", { WebSocket: Fake, token, error: ({ code, reason }) => errors.push([code, reason]) });
  const settle = async () => {
    for (let turn = 0; turn < 5; turn += 1) await null;
  };
  Fake.last().open();
  await settle();
  equal([asked(Fake.last()), topics.isOpen], [[{ type: "authorize", token: "token 1" }], true]);
  Fake.last().drop();
  tick(375);
  Fake.last().open();
  equal(topics.isOpen, false);
  // Nothing was sent yet, so no answer is one.
  topics.publish("a", "x").then(() => errors.push("published"), ({ code }) => errors.push(code));
  for (const id of [1, 2, 3, 4, 5]) Fake.last().says({ type: "published", id });
  await settle();
  equal([errors, topics.isOpen, Fake.last().code], [[["token", "no network"]], false, 4002]);
  tick(750);
  Fake.last().open();
  await settle();
  equal(asked(Fake.last()), [{ type: "authorize", token: "token 3" }, { type: "publish", topic: "a", data: "x" }]);
  topics.close();
});

await timed("a refused subscription is over, and one that is refused for now is tried again", () => {
  const { topics, socket, events } = subscribed();
  topics.subscribe("secret", { ended: ({ code, topic }) => events.push([code, topic]) });
  socket.says({ type: "error", id: socket.taken()[0].id, code: "denied", reason: "no" });
  equal(events.splice(0), [["denied", "secret"]]);
  const later = topics.subscribe("later");
  socket.says({ type: "error", id: socket.taken()[0].id, code: "unavailable", reason: "broker" });
  equal([events[0][0], events[0][1].code, events[0][1].topic], ["error", "unavailable", "later"]);
  tick(2_999);
  equal(socket.taken(), []);
  tick(1);
  equal(asked(socket), [{ type: "subscribe", topic: "later" }]);
  later.unsubscribe();
  later.unsubscribe();
  equal(asked(socket), [{ type: "unsubscribe", topic: "later" }]);
  events.splice(0);
  socket.says({ type: "error", code: "bad-request", reason: "what?" });
  equal([events[0][0], events[0][1].code], ["error", "bad-request"]);
});

await timed("the hub may end a subscription", () => {
  const { topics, socket, events } = subscribed();
  socket.says({ type: "error", id: 1, code: "denied", reason: "too late" });
  equal(events.splice(0).map(([name]) => name), ["error"]);
  socket.says({ type: "unsubscribed", topic: "news", reason: "rights" });
  socket.tells(42, 41);
  equal([events.length, events[0][0], events[0][1].code, events[0][1].reason], [1, "ended", "ended", "rights"]);
  // The answer to something old does not end a new one.
  topics.subscribe("news", { message: () => events.push("message") });
  socket.says({ type: "unsubscribed", topic: "news" });
  socket.says({ type: "unsubscribed", topic: "news", id: 1 });
  socket.confirms("a", 50);
  socket.tells(51, 50);
  equal(events.at(-1), "message");
});

await timed("nothing of an unsubscribed topic is reported", () => {
  const { topics, news, socket, events } = subscribed();
  news.unsubscribe();
  equal(asked(socket), [{ type: "unsubscribe", topic: "news" }]);
  socket.tells(42, 41);
  const again = topics.subscribe("news", { message: () => events.push("message") });
  socket.says({ type: "subscribed", id: 1, topic: "news", epoch: "a", offset: 41 });
  socket.tells(42, 41);
  equal([events, again.position], [[], undefined]);
  again.unsubscribe();
  socket.drop();
  tick(1000);
  equal(asked(Fake.last().open()), []);
  equal(events.map(([name]) => name), ["lost"]);
});

await timed("a handler that unsubscribes, and one that throws", async () => {
  const seen = [];
  const thrown = new Promise((resolve) => process.once("uncaughtException", resolve));
  const { socket, news } = subscribed(
    {},
    {
      gap() {
        throw new Error("of the program");
      },
      message({ offset }) {
        seen.push(offset);
        if (offset === 60) news.unsubscribe();
      },
    },
  );
  const other = subscribed({}, { gap: () => other.news.unsubscribe() });
  other.socket.tells(50, 45);
  equal(other.events, [], "its message is not reported");
  socket.tells(50, 45);
  equal([seen.splice(0), (await thrown).message, socket.code], [[50], "of the program", undefined]);
  socket.tells(60, 50);
  socket.tells(61, 60);
  equal(seen, [60]);
});

await timed("presence is counted", () => {
  const seen = [];
  const { socket } = subscribed({}, { presence: (presence) => seen.push(presence) });
  socket.says({ type: "presence", topic: "news", count: 5, joined: 2, left: 1, more: {} });
  socket.says({ type: "presence", topic: "other", count: 5, joined: 2, left: 1 });
  equal(seen, [{ topic: "news", count: 5, joined: 2, left: 1 }]);
});

await timed("what is unknown is ignored, and a server that is broken is left", () => {
  const { topics, socket } = subscribed();
  socket.says({ type: "later", id: [] });
  equal(socket.code, undefined);
  topics.close();
  const short = Uint8Array.from([2, 0, 4]).buffer;
  const long = Uint8Array.from([2, 0, 9, 0, 0, ...new Array(7).fill(0), 42, ...new Array(7).fill(0), 41, 1]).buffer;
  const far = Uint8Array.from([2, 0, 0, 0, 0, ...new Array(8).fill(255), ...new Array(8).fill(0)]).buffer;
  for (const broken of [
    "",
    "[]",
    "null",
    "{}",
    short,
    long,
    far,
    { type: "message", topic: "news", offset: 42, previous: 41 },
    { type: "message", topic: "news", offset: 42.5, previous: 41, data: "x" },
    { type: "message", topic: "news", offset: 2 ** 53, previous: 41, data: "x" },
    { type: "message", topic: "news", offset: 42, previous: 42, data: "x" },
    { type: "message", topic: "news", offset: 42, previous: 41, data: "x", key: 1 },
    { type: "gap", topic: "news", epoch: "", offset: 42 },
    { type: "gap", topic: "news", epoch: "e".repeat(257), offset: 42 },
    { type: "presence", topic: "news", count: "1", joined: 0, left: 0 },
    { type: "error", id: 1 },
  ]) {
    const { topics, socket, events } = subscribed();
    socket.says(broken);
    equal([events.map(([name]) => name), socket.code], [["lost"], 4002], JSON.stringify(broken));
    ensure(events[0][1].reason.includes(PROTOCOL), events[0][1].reason);
    topics.close();
  }
});

await timed("without a WebSocket it says so", () => {
  const { WebSocket } = globalThis;
  delete globalThis.WebSocket;
  try {
    new Topics("ws://hub/");
  } catch (error) {
    ensure(error instanceof TypeError && error.message.includes("WebSocket"), `${error}`);
    return;
  } finally {
    if (WebSocket) globalThis.WebSocket = WebSocket;
  }
  throw new Error("it was made");
});

finish();
