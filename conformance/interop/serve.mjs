// node's `ws` and its HTTP client against `sockeye serve`, or what serves the same: node serve.mjs ws://HOST:PORT/
import http from "node:http";
import { check, ensure, equal, finish, Peer } from "./checks.mjs";

const url = process.argv[2];
const COUNTER = "dumb-increment-protocol";
const MIRROR = "lws-mirror-protocol";

function request(method, path, agent) {
  return new Promise((resolve, reject) => {
    const target = new URL(path, url.replace("ws:", "http:"));
    const sent = http.request(target, { method, agent }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => resolve({ response, body: Buffer.concat(pieces), socket: sent.socket }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** Reads drawing commands, which end with a semicolon each, until there are so many. */
async function commands(peer, count) {
  let all = "";
  while (all.split(";").length <= count) all += await peer.text();
  return all;
}

await check("ws: the counter counts from zero, one by one, twenty times a second", async () => {
  const peer = await Peer.open(url, COUNTER);
  equal(peer.socket.protocol, COUNTER);
  equal(await peer.text(), "0");
  const begin = performance.now();
  for (let i = 1; i <= 40; i += 1) equal(await peer.text(), `${i}`);
  const seconds = (performance.now() - begin) / 1000;
  ensure(seconds > 1.8 && seconds < 6, `40 steps of 50 ms took ${seconds} s`);
});

await check("ws: reset sets one connection's counter to zero, and no other's", async () => {
  const [resets, counts] = [await Peer.open(url, COUNTER), await Peer.open(url, COUNTER)];
  for (let i = 0; i < 10; i += 1) equal(await resets.text(), `${i}`);
  resets.send("reset\n");
  let last = 9;
  for (;;) {
    const next = Number(await resets.text());
    if (next !== last + 1) {
      equal(next, 0);
      break;
    }
    last = next;
  }
  ensure(last < 40, `the reset was heard only after ${last}`);
  equal(await resets.text(), "1");
  for (let i = 0; i < 15; i += 1) equal(await counts.text(), `${i}`);
});

await check("ws: the mirror sends to everybody, the sender included, in order", async () => {
  const peers = [];
  for (let i = 0; i < 3; i += 1) peers.push(await Peer.open(url, MIRROR));
  equal(peers[0].socket.protocol, MIRROR);
  let sent = "";
  for (let i = 0; i < 300; i += 1) {
    const command = `d #${i.toString(16).padStart(6, "0")} ${i} ${i % 250} ${i + 1} ${(i + 1) % 250};`;
    sent += command;
    peers[0].send(command);
  }
  for (const peer of peers) equal(await commands(peer, 300), sent);
});

await check("ws: a mirror client that leaves is not missed", async () => {
  const [draws, sees, leaves] = [await Peer.open(url, MIRROR), await Peer.open(url, MIRROR), await Peer.open(url, MIRROR)];
  leaves.socket.terminate();
  draws.send("c #102030 10 20 30;");
  equal(await commands(sees, 1), "c #102030 10 20 30;");
  equal((await sees.close(1000)).code, 1000);
});

await check("ws: the first subprotocol that the server speaks is chosen", async () => {
  const peer = await Peer.open(url, ["unheard-of", MIRROR, COUNTER]);
  equal(peer.socket.protocol, MIRROR);
});

await check("node http: the page, twice over one connection, and HEAD", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const first = await request("GET", "/", agent);
  equal(first.response.statusCode, 200);
  ensure(first.response.headers["content-type"].startsWith("text/html"), first.response.headers["content-type"]);
  for (const id of ["counter", "reset", "canvas", "counter-state", "mirror-state"]) {
    ensure(new RegExp(`id="?${id}\\b`).test(first.body.toString()), `the page has no #${id}`);
  }
  const second = await request("GET", "/", agent);
  ensure(second.body.equals(first.body), "another page the second time");
  ensure(second.socket === first.socket, "the connection was not kept");
  const head = await request("HEAD", "/", agent);
  equal(head.response.statusCode, 200);
  equal(head.response.headers["content-length"], `${first.body.length}`);
  equal(head.body.length, 0);
  agent.destroy();
});

await check("node http: what is not there is 404", async () => {
  equal((await request("GET", "/no/such/thing")).response.statusCode, 404);
});

finish();
