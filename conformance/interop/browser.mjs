// The page of `sockeye serve`, or of what serves the same, in Chromium: node browser.mjs ws://HOST:PORT/
//
// Chromium is driven over its debugging protocol. Environment: SERVER is the command line, as a JSON array, of the server
// that is tested (one check starts and ends one of its own; `:PORT` at an argument's end, or an argument `PORT`, becomes
// its port), PICTURES a folder for screenshots.
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { check, ensure, equal, finish, WebSocket } from "./checks.mjs";

const page = process.argv[2].replace("ws:", "http:");
// The coordinates that drawing commands use, however large the canvas is shown.
const SPACE = { width: 480, height: 300 };
const FLAGS = [
  "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-default-apps", "--mute-audio",
  // A window in the background is to go on as one in the foreground does.
  "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
  "--remote-debugging-port=0",
];

/** Looks again and again, at most `limit` milliseconds long, until `condition` gives something true. */
async function until(what, condition, limit = 15_000) {
  const deadline = performance.now() + limit;
  for (;;) {
    const value = await condition();
    if (value) return value;
    ensure(performance.now() < deadline, `${what}: not within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

class Chromium {
  static async start() {
    const profile = mkdtempSync(join(tmpdir(), "sockeye-chromium-"));
    const flags = [...FLAGS, `--user-data-dir=${profile}`];
    if (process.getuid() === 0) flags.push("--no-sandbox"); // which Chromium refuses to set up for root
    const child = spawn("chromium", [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
    const log = [];
    const endpoint = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`chromium does not listen:\n${log.join("\n")}`)), 60_000);
      createInterface({ input: child.stderr }).on("line", (line) => {
        log.push(line);
        const found = /DevTools listening on (ws:\S+)/.exec(line);
        if (found) { clearTimeout(timer); resolve(found[1]); }
      });
      child.once("exit", (code) => reject(new Error(`chromium ended with ${code}:\n${log.join("\n")}`)));
    });
    const socket = new WebSocket(endpoint, { maxPayload: 256 << 20, perMessageDeflate: false });
    await new Promise((resolve, reject) => { socket.once("open", resolve); socket.once("error", reject); });
    return new Chromium(child, profile, socket);
  }

  constructor(child, profile, socket) {
    Object.assign(this, { child, profile, socket, next: 1, pending: new Map(), tabs: new Map() });
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      const call = this.pending.get(message.id);
      if (!call) return this.tabs.get(message.sessionId)?.hear(message.method, message.params);
      this.pending.delete(message.id);
      if (message.error) call.reject(new Error(`${call.method}: ${message.error.message}`));
      else call.resolve(message.result);
    });
  }

  call(method, params = {}, sessionId = undefined) {
    const id = this.next++;
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.pending.set(id, { method, resolve, reject }));
  }

  /** A new window, which tells everything from its first request on. */
  async open(url) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank", newWindow: true, width: 1000, height: 900 });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, targetId, sessionId);
    this.tabs.set(sessionId, tab);
    for (const domain of ["Network", "Page", "Runtime", "Log"]) await tab.call(`${domain}.enable`);
    await tab.call("Emulation.setFocusEmulationEnabled", { enabled: true });
    await tab.go(url);
    return tab;
  }

  /** Ends it in good order: killed, its processes would still write into the profile while that is removed. */
  async stop() {
    this.child.removeAllListeners("exit");
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    const timer = setTimeout(() => this.kill(), 10_000);
    this.call("Browser.close").catch(() => {});
    await ended;
    clearTimeout(timer);
    await rm(this.profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }

  kill() {
    this.child.kill("SIGKILL");
  }
}

class Tab {
  constructor(browser, targetId, sessionId) {
    Object.assign(this, { browser, targetId, sessionId, requests: [], errors: [], loads: 0 });
  }

  call(method, params) {
    return this.browser.call(method, params, this.sessionId);
  }

  hear(method, params) {
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    if (method === "Network.webSocketCreated") this.requests.push(params.url);
    if (method === "Page.loadEventFired") this.loads += 1;
    const complaint = complaintOf(method, params);
    // Chromium has advice on how to read pixels; but it is this test that reads them.
    if (complaint && !complaint.includes("willReadFrequently")) this.errors.push(complaint);
  }

  async go(url) {
    const before = this.loads;
    const { errorText } = await this.call("Page.navigate", { url });
    ensure(!errorText, `${url}: ${errorText}`);
    await until("the page to load", () => this.loads > before);
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    ensure(!exceptionDetails, exceptionDetails?.exception?.description ?? exceptionDetails?.text);
    return result.value;
  }

  text(id) {
    return this.evaluate(`document.getElementById(${JSON.stringify(id)}).textContent.trim()`);
  }

  state(id) {
    return this.evaluate(`document.getElementById(${JSON.stringify(id)}).dataset.state`);
  }

  async count() {
    const text = await this.text("counter");
    const digits = text.replace(/\D/g, "");
    return digits === "" ? -1 : Number(digits);
  }

  /** The visible rectangle of an element's content, in the window, once it has been brought there. */
  async rectangle(id) {
    await this.call("Page.bringToFront");
    return this.evaluate(`(async () => {
      const element = document.getElementById(${JSON.stringify(id)});
      element.scrollIntoView({ block: "center", behavior: "instant" });
      // Input is matched with what was last painted, so that has to be this.
      for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
      const { left, top } = element.getBoundingClientRect();
      return { left: left + element.clientLeft, top: top + element.clientTop, width: element.clientWidth, height: element.clientHeight };
    })()`);
  }

  mouse(type, x, y) {
    const buttons = type === "mouseReleased" ? 0 : 1;
    return this.call("Input.dispatchMouseEvent", { type, x, y, button: "left", buttons, clickCount: 1 });
  }

  async click(id) {
    const { left, top, width, height } = await this.rectangle(id);
    await this.mouse("mousePressed", left + width / 2, top + height / 2);
    await this.mouse("mouseReleased", left + width / 2, top + height / 2);
  }

  /** Draws through points of the canvas' own space: with the mouse, or a finger. */
  async draw(points, finger = false) {
    const { left, top, width, height } = await this.rectangle("canvas");
    const places = points.map(([x, y]) => [left + (x / SPACE.width) * width, top + (y / SPACE.height) * height]);
    const touch = (type, at) => this.call("Input.dispatchTouchEvent", { type, touchPoints: at ? [{ x: at[0], y: at[1] }] : [] });
    if (finger) await touch("touchStart", places[0]);
    else await this.mouse("mousePressed", ...places[0]);
    for (const place of places.slice(1)) await (finger ? touch("touchMove", place) : this.mouse("mouseMoved", ...place));
    if (finger) await touch("touchEnd");
    else await this.mouse("mouseReleased", ...places.at(-1));
  }

  /** For each point of the canvas' space, what the pixels around it are: a number that changes when one of them does. */
  pixels(points) {
    return this.evaluate(`(() => {
      const canvas = document.getElementById("canvas");
      const context = canvas.getContext("2d");
      const [across, down] = [canvas.width / ${SPACE.width}, canvas.height / ${SPACE.height}];
      return ${JSON.stringify(points)}.map(([x, y]) => {
        const reach = 4;
        const { data } = context.getImageData((x - reach) * across, (y - reach) * down, 2 * reach * across, 2 * reach * down);
        return data.reduce((sum, value) => (Math.imul(sum, 31) + value) | 0, 17);
      });
    })()`);
  }

  async picture(name) {
    if (!process.env.PICTURES) return;
    const { data } = await this.call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    writeFileSync(join(process.env.PICTURES, `${name}.png`), Buffer.from(data, "base64"));
  }
}

/** The error or warning that an event of the debugging protocol brings, if it is one. */
function complaintOf(method, params) {
  if (method === "Runtime.exceptionThrown") {
    return params.exceptionDetails.exception?.description ?? params.exceptionDetails.text;
  }
  if (method === "Runtime.consoleAPICalled" && ["error", "assert", "warning"].includes(params.type)) {
    return params.args.map((argument) => argument.value ?? argument.description).join(" ");
  }
  if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) {
    return `${params.entry.text} ${params.entry.url ?? ""}`;
  }
  return undefined;
}

/** Points between two others, the ends apart. */
function between([x, y], [toX, toY], count = 12) {
  return Array.from({ length: count }, (_, i) => {
    const part = (i + 1) / (count + 1);
    return [Math.round(x + (toX - x) * part), Math.round(y + (toY - y) * part)];
  });
}

/** A stroke drawn in one window has to be seen in both, along its whole length, and nothing beside it. */
async function stroke(source, target, from, to, finger) {
  const path = between(from, to);
  const beside = path.map(([x, y]) => [x, y + 60]);
  const before = await Promise.all([source, target].flatMap((tab) => [tab.pixels(path), tab.pixels(beside)]));
  await source.draw([from, ...path, to], finger);
  for (const [tab, blank, still] of [[target, before[2], before[3]], [source, before[0], before[1]]]) {
    await until("the stroke along its whole length", async () => {
      const now = await tab.pixels(path);
      return now.every((sum, i) => sum !== blank[i]);
    });
    equal(await tab.pixels(beside), still);
  }
}

const browser = await Chromium.start();
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => { browser.kill(); process.exit(1); });
}
try {
  await scenario();
} catch (error) {
  await check("browser: the script came to its end", () => { throw error; });
}
await check("browser: Chromium ends", () => browser.stop());
finish();

async function scenario() {
  const [one, two] = [await browser.open(page), await browser.open(page)];

  await check("browser: both connections of both windows are shown as open", async () => {
    for (const tab of [one, two]) {
      for (const id of ["counter-state", "mirror-state"]) await until(`#${id}`, async () => (await tab.state(id)) === "open");
    }
  });

  await check("browser: the counter counts", async () => {
    const first = await until("a first number", async () => { const count = await one.count(); return count >= 0 && [count]; });
    await until("thirty more", async () => (await one.count()) >= first[0] + 30);
  });

  await check("browser: the reset button sets this window's counter back, and no other's", async () => {
    for (const tab of [one, two]) {
      await until("a count of 30", async () => (await tab.count()) >= 30);
      await tab.evaluate(`(() => {
        const counter = document.getElementById("counter");
        const count = () => Number(counter.textContent.replace(/\\D/g, ""));
        window.seen = [count()];
        new MutationObserver(() => window.seen.push(count())).observe(counter, { childList: true, characterData: true, subtree: true });
      })()`);
    }
    await one.click("reset");
    const falls = (tab) => tab.evaluate("window.seen.filter((count, i) => i > 0 && count < window.seen[i - 1])");
    const [count] = await until("the count to go back", async () => { const all = await falls(one); return all.length > 0 && all; });
    ensure(count <= 3, `it went back to ${count} only`);
    await until("it to count on", async () => (await one.count()) >= count + 5);
    equal((await falls(one)).length, 1);
    equal(await falls(two), []);
  });

  await check("browser: a stroke of the mouse in one window appears in the other", () => stroke(one, two, [40, 40], [300, 140], false));
  await check("browser: and the other way", () => stroke(two, one, [440, 30], [340, 200], false));
  await one.picture("page");

  await check("browser: on a phone it fits the screen, and a finger draws", async () => {
    await two.call("Emulation.setDeviceMetricsOverride", { width: 360, height: 740, deviceScaleFactor: 3, mobile: true });
    await two.call("Emulation.setTouchEmulationEnabled", { enabled: true, maxTouchPoints: 1 });
    await two.go(page);
    await until("the mirror", async () => (await two.state("mirror-state")) === "open");
    const [content, screen] = await two.evaluate("[document.documentElement.scrollWidth, innerWidth]");
    equal([content, screen], [360, 360]);
    await stroke(two, one, [60, 230], [300, 160], true);
    await two.picture("page-phone");
  });

  await check("browser: dark mode has a dark background", async () => {
    const lightness = async (scheme) => {
      await two.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
      const { data } = await two.call("Page.captureScreenshot", { format: "png", clip: { x: 0, y: 0, width: 4, height: 4, scale: 1 } });
      return two.evaluate(`(async () => {
        const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob("${data}"), (c) => c.charCodeAt(0))]));
        const context = new OffscreenCanvas(4, 4).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
        return (red + green + blue) / 3;
      })()`);
    };
    const [light, dark] = [await lightness("light"), await lightness("dark")];
    ensure(light > 180 && dark < 80, `light ${light}, dark ${dark}`);
    await two.picture("page-phone-dark");
  });

  await check("browser: no request went to any other host", async () => {
    const host = new URL(page).host;
    const requests = [...one.requests, ...two.requests];
    ensure(requests.length >= 6, `only ${requests.length} requests were seen`);
    const strange = requests.filter((url) => !/^(data|blob|about):/.test(url) && new URL(url).host !== host);
    equal(strange, []);
  });

  await check("browser: no errors and no warnings on the console", async () => equal([...one.errors, ...two.errors], []));
  await check("browser: a server that goes away is shown, and one that comes back is found", comesBack, 60_000);
}

async function comesBack() {
  let server = await serve(0);
  try {
    const tab = await browser.open(`http://127.0.0.1:${server.port}/`);
    const states = async () => [await tab.state("counter-state"), await tab.state("mirror-state")];
    await until("both to open", async () => (await states()).every((state) => state === "open"));
    equal(await server.stop(), 0);
    await until("both to be shown as not open", async () => (await states()).every((state) => state !== "open"));
    server = await serve(server.port);
    await until("both to open again", async () => (await states()).every((state) => state === "open"), 30_000);
    const count = await tab.count();
    await until("it to count", async () => { const now = await tab.count(); return now > 0 && now !== count; });
  } finally {
    await server.stop();
  }
}

async function serve(port) {
  const [program, ...words] = JSON.parse(process.env.SERVER).map((word) => word.replace(/(?<=^|:)PORT$/, `${port}`));
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const stop = () => { child.kill("SIGTERM"); return ended; };
  const found = await new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const match = /listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(line);
      if (match) resolve(Number(match[1]));
    });
    ended.then(() => resolve(0));
  });
  ensure(found !== 0, `the server on port ${port} did not start`);
  return { port: found, stop };
}
