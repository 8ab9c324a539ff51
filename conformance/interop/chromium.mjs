// Chromium, driven over its debugging protocol. Environment: PICTURES is a folder for screenshots.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { check, ensure, finish, until, WebSocket } from "./checks.mjs";

const FLAGS = [
  "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-default-apps", "--mute-audio",
  // A window in the background is to go on as one in the foreground does.
  "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
  "--remote-debugging-port=0",
];

export class Chromium {
  /** Starts one, with `flags` beside the usual ones; it trusts the authority in that PEM file too. */
  static async start({ flags: more = [], authority } = {}) {
    const profile = mkdtempSync(join(tmpdir(), "sockeye-chromium-"));
    const env = authority ? { ...process.env, HOME: trusting(profile, authority) } : process.env;
    const flags = [...FLAGS, ...more, `--user-data-dir=${profile}`];
    if (process.getuid() === 0) flags.push("--no-sandbox"); // which Chromium refuses to set up for root
    const child = spawn("chromium", [...flags, "about:blank"], { env, stdio: ["ignore", "ignore", "pipe"] });
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
  async open(url, Kind = Tab) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank", newWindow: true, width: 1000, height: 900 });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Kind(this, targetId, sessionId);
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

export class Tab {
  constructor(browser, targetId, sessionId) {
    Object.assign(this, { browser, targetId, sessionId, requests: [], errors: [], loads: 0 });
  }

  call(method, params) {
    return this.browser.call(method, params, this.sessionId);
  }

  close() {
    return this.browser.call("Target.closeTarget", { targetId: this.targetId });
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

/** Makes a home folder in this one: there Chromium looks for the authorities that its user has added. */
function trusting(folder, authority) {
  const home = join(folder, "home");
  const database = join(home, ".pki", "nssdb");
  mkdirSync(database, { recursive: true });
  const certutil = (...words) => execFileSync("certutil", ["-d", `sql:${database}`, ...words]);
  certutil("-N", "--empty-password");
  certutil("-A", "-t", "C,,", "-n", "authority", "-i", authority);
  return home;
}

/** Runs the checks of `scenario` in a Chromium of its own, which is started with `options`, and ends the script. */
export async function inChromium(scenario, options = {}) {
  const browser = await Chromium.start(options);
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => { browser.kill(); process.exit(1); });
  }
  try {
    await scenario(browser);
  } catch (error) {
    await check("browser: the script came to its end", () => { throw error; });
  }
  await check("browser: Chromium ends", () => browser.stop());
  finish();
}
