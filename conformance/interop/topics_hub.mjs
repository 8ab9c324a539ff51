// The JavaScript client of hubs on `sockeye serve --topics`: through cuts nothing is missing, through a new start of the server there is a gap.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { Topics } from "../../crates/sockeye-hub/js/sockeye-topics.js";
import { WebSocket, check, ensure, equal, finish, until } from "./checks.mjs";

const url = process.argv[2];

/** Sockets that a check can cut. */
class Cut extends WebSocket {
  static all = new Set();

  constructor(...words) {
    super(...words);
    Cut.all.add(this);
    this.on("close", () => Cut.all.delete(this));
  }

  static now() {
    for (const socket of Cut.all) socket.terminate();
  }
}

function client(at, options = {}) {
  return new Topics(at, { WebSocket: Cut, firstDelay: 20, lastDelay: 100, ...options });
}

/** Subscribes, and keeps what is reported. */
function watch(topics, topic, handlers = {}) {
  const seen = { data: [], gaps: [], recovered: [] };
  seen.subscription = topics.subscribe(topic, {
    message: ({ data }) => seen.data.push(typeof data === "string" ? data : [...data]),
    gap: (gap) => seen.gaps.push(gap),
    subscribed: ({ recovered }) => seen.recovered.push(recovered),
    ...handlers,
  });
  return seen;
}

await check("text and bytes arrive in order, and publishes are answered", async () => {
  const topics = client(url);
  const seen = watch(topics, "both");
  await until("the subscription", () => seen.recovered.length === 1);
  const first = await topics.publish("both", "grüß \"dich\"\n");
  const second = await topics.publish("both", Uint8Array.from([0, 255]), { key: "k" });
  equal([second.epoch, second.offset > first.offset], [first.epoch, true]);
  await until("both messages", () => seen.data.length === 2);
  equal([seen.data, seen.gaps], [["grüß \"dich\"\n", [0, 255]], []]);
  equal(seen.subscription.position, second);
  topics.close();
});

await check("who is late gets what is kept", async () => {
  const topics = client(url);
  for (let number = 1; number <= 60; number += 1) await topics.publish("late", `${number}`);
  const last = watch(topics, "late", { last: 5 });
  await until("five messages", () => last.data.length === 5);
  equal(last.data, ["56", "57", "58", "59", "60"]);
  const other = client(url);
  const since = { epoch: last.subscription.position.epoch, offset: 1 };
  const rest = watch(other, "late", { since });
  await until("what is kept", () => rest.data.at(-1) === "60");
  equal([rest.data.length, rest.gaps.length, rest.recovered], [50, 1, [false]]);
  topics.close();
  other.close();
});

await check("through a hundred cuts every message arrives once", async () => {
  const [publisher, reader] = [client(url), client(url)];
  const seen = watch(reader, "cuts");
  await until("the subscription", () => seen.recovered.length === 1);
  const certain = new Set();
  for (let number = 1; number <= 400; number += 1) {
    const published = publisher.publish("cuts", `${number}`);
    if (number % 4 === 0) Cut.now();
    try {
      await published;
      certain.add(`${number}`);
    } catch (error) {
      equal(error.code, "unknown");
    }
  }
  await publisher.publish("cuts", "end");
  await until("the end", () => seen.data.at(-1) === "end", 60_000);
  equal([seen.gaps, new Set(seen.data).size], [[], seen.data.length]);
  const numbers = seen.data.slice(0, -1).map(Number);
  ensure(numbers.every((number, at) => at === 0 || number > numbers[at - 1]), "in order");
  equal([...certain].filter((number) => !seen.data.includes(number)), []);
  ensure(seen.recovered.length > 5, `${seen.recovered.length} connections`);
  publisher.close();
  reader.close();
});

await check("presence counts", async () => {
  const [one, two] = [client(url), client(url)];
  const counts = [];
  watch(one, "room", { presence: ({ count }) => counts.push(count) });
  await until("one", () => counts.at(-1) === 1);
  const other = watch(two, "room");
  await until("two", () => counts.at(-1) === 2);
  other.subscription.unsubscribe();
  await until("one again", () => counts.at(-1) === 1);
  one.close();
  two.close();
});

/** A server of this script's own. */
async function serve(port) {
  const [program, ...words] = JSON.parse(process.env.SERVER);
  const child = spawn(program, words.map((word) => word.replace("PORT", port)), { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  const stop = async () => {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  };
  return { port: new URL(line.replace("listening on ", "")).port, stop };
}

await check("after a new start of the server there is a gap, and it goes on", async () => {
  const first = await serve("0");
  const topics = client(`ws://127.0.0.1:${first.port}/`);
  const lost = [];
  const seen = watch(topics, "news");
  await until("the subscription", () => seen.recovered.length === 1);
  await topics.publish("news", "before");
  await until("the message", () => seen.data.length === 1);
  await first.stop();
  const waiting = topics.publish("news", "between").catch((error) => lost.push(error.code));
  const second = await serve(first.port);
  await until("another subscription", () => seen.recovered.length === 2);
  await waiting;
  await topics.publish("news", "after");
  await until("the last message", () => seen.data.at(-1) === "after");
  equal([seen.recovered, seen.gaps.length, seen.gaps[0].after.offset], [[undefined, false], 1, 1]);
  ensure(seen.gaps[0].until.epoch !== seen.gaps[0].after.epoch, "another epoch");
  ensure(lost.every((code) => code === "unknown"), `${lost}`);
  topics.close();
  await second.stop();
});

finish();
