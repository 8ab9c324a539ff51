// The page of `sockeye serve --topics` in Chromium, on two servers with Redis between them: node topics_browser.mjs
//
// Environment: SOCKEYE is the command that is tested.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { check, equal, until } from "./checks.mjs";
import { inChromium, Tab } from "./chromium.mjs";

/** A free port, which this process has had for a moment. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startRedis() {
  const [folder, port] = [mkdtempSync(join(tmpdir(), "sockeye-redis-")), await freePort()];
  const child = spawn("redis-server", ["--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => { if (line.includes("Ready to accept connections")) resolve(); });
    child.once("error", (error) => reject(new Error(`redis-server does not start (apt-get install redis-server): ${error.message}`)));
    child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
  });
  return { url: `redis://127.0.0.1:${port}`, stop: () => { child.kill("SIGKILL"); rmSync(folder, { recursive: true, force: true }); } };
}

async function startHub(backplane) {
  const words = ["serve", "--topics", "--open-publish", "--any-host", "--any-origin", "--port", "0", "--backplane", backplane, "--log-level", "info"];
  const child = spawn(process.env.SOCKEYE, words, { stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  const connected = new Promise((resolve) => {
    createInterface({ input: child.stderr }).on("line", (line) => { log.push(line); if (line.includes("the broker is connected")) resolve(); });
  });
  const port = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /listening on http:\/\/[^/]*:(\d+)/.exec(line);
      if (found) resolve(Number(found[1]));
    });
    child.once("exit", (code) => reject(new Error(`serve ended with ${code}: ${log.join("\n")}`)));
  });
  const timer = new Promise((_, reject) => setTimeout(() => { child.kill("SIGKILL"); reject(new Error(`no broker:\n${log.join("\n")}`)); }, 30_000).unref());
  await Promise.race([connected, timer]);
  return { port, stop: () => child.kill("SIGTERM") };
}

/** What is between a page and its server, and can be cut. */
async function startCable(port) {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    const far = connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => {});
      one.on("close", () => { sockets.delete(one); other.destroy(); });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    cut: () => { isCut = true; for (const socket of sockets) socket.destroy(); },
    mend: () => { isCut = false; },
    stop: () => { server.close(); for (const socket of sockets) socket.destroy(); },
  };
}

class Hub extends Tab {
  state() {
    return this.evaluate(`document.getElementById("state").dataset.state`);
  }

  async draw(points) {
    const { left, top, width, height } = await this.rectangle("canvas");
    const places = points.map(([x, y]) => [left + x * width, top + y * height]);
    await this.mouse("mousePressed", ...places[0]);
    for (const place of places.slice(1)) await this.mouse("mouseMoved", ...place);
    await this.mouse("mouseReleased", ...places.at(-1));
  }

  /** For each point, whether something is drawn there. */
  drawn(points) {
    return this.evaluate(`(() => {
      const canvas = document.getElementById("canvas");
      const context = canvas.getContext("2d");
      return ${JSON.stringify(points)}.map(([x, y]) =>
        context.getImageData(x * canvas.width - 3, y * canvas.height - 3, 6, 6).data.some((value) => value !== 0));
    })()`);
  }

  async say(text) {
    await this.evaluate(`(() => {
      document.getElementById("text").value = ${JSON.stringify(text)};
      document.getElementById("say").requestSubmit();
    })()`);
  }

  said() {
    return this.evaluate(`[...document.querySelectorAll("#said li")].map((line) => line.textContent)`);
  }

  gaps() {
    return this.evaluate(`document.getElementById("gaps").hidden ? "" : document.getElementById("gaps").textContent`);
  }
}

const line = (y) => Array.from({ length: 9 }, (_, i) => [0.1 + i / 10, y]);
const all = (values) => values.every(Boolean);

await inChromium(async (browser) => {
  const started = [];
  const start = async (what) => { const it = await what; started.push(it); return it; };
  try {
    const redis = await start(startRedis());
    const [one, other] = [await start(startHub(redis.url)), await start(startHub(redis.url))];
    const cable = await start(startCable(other.port));
    const left = await browser.open(`http://127.0.0.1:${one.port}/topics.html`, Hub);
    const right = await browser.open(`http://127.0.0.1:${cable.port}/topics.html`, Hub);
    for (const tab of [left, right]) await until("the page to connect", async () => (await tab.state()) === "open");

    await check("chromium: pages at two servers draw and speak together", async () => {
      await left.draw(line(0.2));
      await right.draw(line(0.4));
      for (const tab of [left, right]) {
        await until("both strokes", async () => all(await tab.drawn([...line(0.2), ...line(0.4)].slice(1, -1).filter(([x]) => x < 0.85))));
        equal((await tab.drawn(line(0.6))).some(Boolean), false);
      }
      await left.say("from the left");
      await until("the words", async () => (await right.said()).includes("from the left"));
      await right.say("from the right");
      await until("the answer", async () => (await left.said()).includes("from the right"));
    }, 60_000);

    await check("chromium: a page that was cut off gets what it missed, without a gap", async () => {
      cable.cut();
      await until("the page to notice", async () => (await right.state()) === "closed");
      await left.draw(line(0.6));
      for (const number of [1, 2, 3]) await left.say(`missed ${number}`);
      await until("the words at the left", async () => (await left.said()).includes("missed 3"));
      equal((await right.drawn(line(0.6))).some(Boolean), false);
      cable.mend();
      await until("what was missed", async () => all((await right.drawn(line(0.6))).slice(1, -1)));
      await until("the words", async () => (await right.said()).includes("missed 3"));
      const words = ["from the left", "from the right", "missed 1", "missed 2", "missed 3"];
      for (const tab of [left, right]) {
        equal(await tab.said(), words);
        equal(await tab.gaps(), "");
      }
      equal(left.errors, []);
    }, 90_000);

    await check("chromium: who comes late sees what there was", async () => {
      const late = await browser.open(`http://127.0.0.1:${other.port}/topics.html`, Hub);
      await until("the history", async () => (await late.said()).includes("missed 3"));
      await until("the strokes", async () => all((await late.drawn(line(0.6))).slice(1, -1)));
      equal(await late.gaps(), "");
      equal(late.errors, []);
      await late.close();
    }, 60_000);
  } finally {
    for (const it of started.reverse()) it.stop();
  }
});
