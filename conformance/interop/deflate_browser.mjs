// Chromium's permessage-deflate against `sockeye echo --compress`: node deflate_browser.mjs
//
// Environment: SOCKEYE is the command that is tested.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { check, ensure, equal, until } from "./checks.mjs";
import { inChromium } from "./chromium.mjs";
import { Page, stroke } from "./page.mjs";

/** Starts a server on any free port, with its counters on /metrics. */
async function start(...words) {
  const child = spawn(process.env.SOCKEYE, [...words, "--port", "0", "--metrics", "/metrics", "--log-level", "warn"], { stdio: ["ignore", "pipe", "inherit"] });
  const authority = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /listening on \w+:\/\/([^/]+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.once("exit", (code) => reject(new Error(`${words[0]} ended with ${code}`)));
  });
  const compressed = async (what) => {
    const text = await (await fetch(`http://${authority}/metrics`)).text();
    const found = new RegExp(`^sockeye_${what}_compressed_messages_total (\\d+)$`, "m").exec(text);
    ensure(found, `nothing of what was ${what} in ${text}`);
    return Number(found[1]);
  };
  return { authority, compressed, stop: () => child.kill("SIGTERM") };
}

/** Runs in the page: sends messages and gives how the connection was opened and which echoes are wrong. */
async function talk(url) {
  // Repeatable noise.
  let state = 7692;
  const below = (bound) => { state = Math.imul(state, 1103515245) + 12345 >>> 0; return (state >>> 8) % bound; };
  const quote = () => JSON.stringify({ type: "quote", symbol: "ABC", bid: below(90000), ask: below(90000), text: "é€𝄞" });
  const bytes = (length, of) => Uint8Array.from({ length }, () => below(of));
  const messages = [];
  for (let round = 0; round < 300; round += 1) {
    messages.push(quote(), bytes(below(400), 256), bytes(below(2000), 4));
    if (round % 30 === 0) {
      // Longer than a window, than a frame of Chromium's, and nothing.
      messages.push(quote().repeat(2000), bytes(100_000, 16), bytes(200_000, 256), "", new Uint8Array());
    }
  }
  messages.push("=".repeat(4 << 20));
  const ws = new WebSocket(url);
  ws.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = () => reject(new Error(`${url} does not open`)); });
  const { extensions } = ws;
  const same = (sent, got) => typeof sent === "string" ? sent === got
    : got instanceof ArrayBuffer && got.byteLength === sent.length && new Uint8Array(got).every((byte, at) => byte === sent[at]);
  const wrong = [];
  let count = 0;
  const all = new Promise((resolve, reject) => {
    ws.onmessage = ({ data }) => {
      if (!same(messages[count], data)) wrong.push(count);
      count += 1;
      if (count === messages.length) resolve();
    };
    ws.onclose = ({ code }) => reject(new Error(`closed with ${code} after ${count} messages`));
  });
  for (const message of messages) ws.send(message);
  await all;
  const closed = new Promise((resolve) => { ws.onclose = ({ code, wasClean }) => resolve([code, wasClean]); });
  ws.close(1000);
  return { extensions, count, sent: messages.length, wrong, closed: await closed };
}

await inChromium(async (browser) => {
  // A page without a policy of its own, from a place from which Chromium lets it connect to this host.
  const pages = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><link rel=icon href=data:,>"));
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  const blank = await browser.open(`http://127.0.0.1:${pages.address().port}/`);
  for (const [options, answer] of [
    [["--compress"], "permessage-deflate; client_max_window_bits=11"],
    [["--compress=6", "--compress-history", "32K"], "permessage-deflate"],
    [["--compress=9", "--compress-history", "256"], "permessage-deflate; client_max_window_bits=8"],
    [["--compress", "--compress-history", "0"], "permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
  ]) {
    await check(`chromium: messages there and back with echo ${options.join(" ")}`, async () => {
      const echo = await start("echo", "--any-origin", ...options);
      try {
        const found = await blank.evaluate(`(${talk})("ws://${echo.authority}/")`);
        equal(found.extensions.split("; ").sort(), answer.split("; ").sort());
        equal([found.count, found.wrong, found.closed], [found.sent, [], [1000, true]]);
        const [received, sent] = [await echo.compressed("received"), await echo.compressed("sent")];
        // Chromium compresses all; what does not become shorter comes back as it is.
        equal(received, found.sent);
        ensure(sent > 250, `only ${sent} of ${found.sent} messages were compressed`);
      } finally {
        echo.stop();
      }
    }, 60_000);
  }

  await blank.close();
  pages.close();
  pages.closeAllConnections();

  await check("chromium: the page of serve --compress counts and draws", async () => {
    const serve = await start("serve", "--compress");
    try {
      const [one, two] = [await browser.open(`http://${serve.authority}/`, Page), await browser.open(`http://${serve.authority}/`, Page)];
      await until("a count of 40", async () => (await one.count()) >= 40);
      await stroke(one, two, [40, 40], [300, 140], false);
      await stroke(two, one, [440, 30], [340, 200], false);
      ensure((await serve.compressed("received")) > 0, "nothing came compressed");
      equal([...one.errors, ...two.errors], []);
    } finally {
      serve.stop();
    }
  }, 60_000);
});
