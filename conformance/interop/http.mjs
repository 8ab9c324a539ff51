// node's fetch and curl against the examples of HTTP sessions: node http.mjs
//
// Environment: EXAMPLES is the folder of the examples. What curl says on standard error (`-v`) tells whether it was told
// to continue, and whether it used a connection again.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, ensure, equal, finish, Peer, until } from "./checks.mjs";
import { example } from "./examples.mjs";

const folder = mkdtempSync(join(tmpdir(), "sockeye-http-"));
const [stored, here] = [join(folder, "stored"), (name) => join(folder, name)];

/** Runs curl to its end. */
function curl(words, input = undefined) {
  const child = spawn("curl", ["--silent", "--show-error", "--max-time", "60", ...words], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {}); // it ended without reading all
  child.stdin.end(input);
  const [out, log] = [[], []];
  child.stdout.on("data", (piece) => out.push(piece));
  child.stderr.on("data", (piece) => log.push(piece));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, out: Buffer.concat(out).toString(), log: Buffer.concat(log).toString() }));
  });
}

const occurrences = (text, part) => text.split(part).length - 1;

/** A stream of `bytes`, in pieces of odd sizes. */
function inPieces(bytes) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at === bytes.length) return controller.close();
      const piece = bytes.subarray(at, at + 1 + (at * 7919) % 70_001);
      at += piece.length;
      controller.enqueue(piece);
    },
  });
}

mkdirSync(stored);
const running = [];
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => { running.forEach((server) => server.stop()); process.exit(1); });
}
try {
  await uploads();
  await events();
  await longPolls();
} catch (error) {
  await check("http: the script came to its end", () => { throw error; });
}
for (const server of running) await server.stop();
rmSync(folder, { recursive: true, force: true });
finish();

async function start(...words) {
  const server = await example(...words);
  running.push(server);
  return server;
}

async function uploads() {
  const server = await start("upload", stored);
  const at = (name) => new URL(name, server.url).href;
  const bytes = randomBytes(5_000_000);
  const isStored = (name) => ensure(readFileSync(join(stored, name)).equals(bytes), `${name} has other content`);
  writeFileSync(here("bytes"), bytes);

  await check("fetch: a streamed upload arrives, and its answer", async () => {
    const response = await fetch(at("streamed"), { method: "PUT", body: inPieces(bytes), duplex: "half" });
    equal([response.status, await response.text()], [201, "5000000 bytes\n"]);
    isStored("streamed");
  });

  await check("fetch: an upload of known length, and it again as a stream, a range and a HEAD", async () => {
    const put = await fetch(at("whole"), { method: "PUT", body: bytes });
    equal([put.status, await put.text()], [201, "5000000 bytes\n"]);
    const pieces = [];
    for await (const piece of (await fetch(at("whole"))).body) pieces.push(piece);
    ensure(Buffer.concat(pieces).equals(bytes), "other content");
    const range = await fetch(at("whole"), { headers: { Range: "bytes=10-19" } });
    equal([range.status, Buffer.from(await range.arrayBuffer())], [206, bytes.subarray(10, 20)]);
    const head = await fetch(at("whole"), { method: "HEAD" });
    equal([head.status, head.headers.get("content-length"), (await head.arrayBuffer()).byteLength], [200, "5000000", 0]);
    const tag = head.headers.get("etag");
    equal((await fetch(at("whole"), { headers: { "If-None-Match": tag } })).status, 304);
  });

  await check("fetch: a refused upload has its status, and the next request an answer", async () => {
    equal((await fetch(at(".hidden"), { method: "PUT", body: "small" })).status, 403);
    equal((await fetch(at("whole"), { method: "DELETE" })).status, 405);
    equal((await fetch(at("whole"))).status, 200);
  });

  await check("fetch: an upload that is given up leaves nothing", async () => {
    const giveUp = new AbortController();
    let sent = 0;
    const endless = new ReadableStream({
      async pull(controller) {
        sent += 1;
        if (sent < 50) return controller.enqueue(new Uint8Array(10_000));
        giveUp.abort();
        await new Promise(() => {});
      },
    });
    const upload = fetch(at("given-up"), { method: "PUT", body: endless, duplex: "half", signal: giveUp.signal });
    equal(await upload.then(() => "answered", (error) => error.name), "AbortError");
    await until("the end of the upload", () => server.lines.some((line) => /: \d+ bytes, (ended by the peer|broken.*)$/.test(line)));
    equal(readdirSync(stored).filter((name) => name.includes("given-up")), []);
  });

  await check("curl: an upload waits for 100 (Continue), once", async () => {
    const { code, out, log } = await curl(["-v", "-H", "Expect: 100-continue", "-T", here("bytes"), at("expected")]);
    equal([code, out, occurrences(log, "< HTTP/1.1 100 Continue"), occurrences(log, "< HTTP/1.1 201 Created")], [0, "5000000 bytes\n", 1, 1]);
    isStored("expected");
  });

  await check("curl: what the head decides is answered before the body is sent", async () => {
    closeSync(openSync(here("large"), "w"));
    const large = openSync(here("large"), "r+");
    ftruncateSync(large, (1 << 30) + 1);
    closeSync(large);
    for (const [file, name, status] of [["bytes", ".hidden", 403], ["large", "large", 413]]) {
      const words = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "-o", here("answer"), "-w", "%{http_code} %{size_upload}"];
      const { code, out, log } = await curl([...words, "-T", here(file), at(name)]);
      equal([code, out, occurrences(log, "100 Continue")], [0, `${status} 0`, 0]);
    }
  });

  await check("curl: an upload in chunks, and one over HTTP/1.0", async () => {
    const chunked = await curl(["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", "-", at("chunked")], bytes);
    equal([chunked.code, chunked.out], [0, "5000000 bytes\n"]);
    isStored("chunked");
    const old = await curl(["-v", "--http1.0", "-T", here("bytes"), at("old")]);
    equal([old.code, old.out, occurrences(old.log, "100 Continue")], [0, "5000000 bytes\n", 0]);
    isStored("old");
  });

  await check("curl: one connection carries uploads, downloads and HEAD", async () => {
    const put = ["-T", here("bytes"), at("first"), "-T", here("bytes"), at("second")];
    const upload = await curl(["-v", ...put]);
    equal([upload.code, upload.out, occurrences(upload.log, "Re-using existing connection")], [0, "5000000 bytes\n".repeat(2), 1]);
    const [one, two] = [here("one"), here("two")];
    const download = await curl(["-v", "-o", one, "-o", two, at("first"), at("second")]);
    equal([download.code, occurrences(download.log, "Re-using existing connection")], [0, 1]);
    ensure(readFileSync(one).equals(bytes) && readFileSync(two).equals(bytes), "other content");
    const heads = await curl(["-v", "--head", at("first"), at("second"), at("none")]);
    equal([heads.code, occurrences(heads.out, "Content-Length: 5000000\r\n"), occurrences(heads.out, "HTTP/1.1 404 Not Found")], [0, 2, 1]);
    equal(occurrences(heads.log, "Re-using existing connection"), 2);
  });
}

async function events() {
  const server = await start("events");
  const stream = new URL("events", server.url).href;
  const chat = await Peer.open(server.url.replace("http:", "ws:"), "chat");

  await check("fetch: a stream of events brings each when it comes", async () => {
    const giveUp = new AbortController();
    const response = await fetch(stream, { signal: giveUp.signal });
    equal([response.status, response.headers.get("content-type")], [200, "text/event-stream"]);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    const hears = async (part) => {
      while (!heard.includes(part)) {
        const { value, done } = await reader.read();
        ensure(!done, `it ended with ${heard}`);
        heard += value;
      }
    };
    await hears("retry: 1000\n\n");
    for (const text of ["one", "two", "three"]) {
      chat.send(text);
      await hears(`data: ${text}\n\n`);
    }
    equal(heard, "retry: 1000\n\nid: 0\ndata: one\n\nid: 1\ndata: two\n\nid: 2\ndata: three\n\n");
    giveUp.abort();
  });

  await check("curl: a stream of events from the last one that it had", async () => {
    const child = spawn("curl", ["-sN", "-H", "Last-Event-ID: 0", stream], { stdio: ["ignore", "pipe", "inherit"] });
    let heard = "";
    child.stdout.on("data", (piece) => { heard += piece; });
    await until("what it missed", () => heard.includes("data: three\n\n"));
    chat.send("four");
    await until("what is new", () => heard.includes("data: four\n\n"));
    equal(heard, "retry: 1000\n\nid: 1\ndata: two\n\nid: 2\ndata: three\n\nid: 3\ndata: four\n\n");
    child.kill("SIGTERM");
  });

  await check("curl: HEAD of a stream has a head, and the connection goes on", async () => {
    const { code, out } = await curl(["--head", stream, "--next", "--silent", "-o", here("page"), "-w", "%{num_connects}", server.url]);
    equal(code, 0);
    ensure(out.startsWith("HTTP/1.1 200 OK\r\n") && out.includes("Content-Type: text/event-stream\r\n"), out);
  });
  await chat.close(1000);
}

async function longPolls() {
  const server = await start("long_poll");
  const posts = (text) => fetch(server.url, { method: "POST", body: text });

  await check("fetch: a long poll is answered when somebody posts, and not before", async () => {
    let isAnswered = false;
    const waits = fetch(`${server.url}?after=0`).then((response) => { isAnswered = true; return response; });
    const others = Array.from({ length: 50 }, () => fetch(server.url).then((response) => response.text()));
    await new Promise((resolve) => setTimeout(resolve, 200));
    equal(isAnswered, false);
    equal((await posts("hello")).status, 204);
    const response = await waits;
    equal([response.status, response.headers.get("x-next"), await response.text()], [200, "1", "hello"]);
    for (const text of await Promise.all(others)) equal(text, "hello");
  });

  await check("curl: what was posted already is answered at once, and 204 has no body", async () => {
    const seen = await curl([`${server.url}?after=0`]);
    equal([seen.code, seen.out], [0, "hello"]);
    const post = await curl(["-i", "-d", "again", server.url]);
    ensure(post.code === 0 && post.out.startsWith("HTTP/1.1 204 No Content\r\n"), post.out);
    ensure(!/content-length|transfer-encoding/i.test(post.out) && post.out.endsWith("\r\n\r\n"), post.out);
  });
}
