// Chromium and `sockeye serve` with TLS: node tls_browser.mjs
//
// Environment: SOCKEYE is the program; CERTIFICATES is the folder of certificates.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { check, ensure, equal, until } from "./checks.mjs";
import { inChromium } from "./chromium.mjs";
import { Page, stroke } from "./page.mjs";

/** Starts a server: its address, and the pin of its key if it says one. */
async function serve(...options) {
  const child = spawn(process.env.SOCKEYE, ["serve", "--port", "0", "--log-level", "warn", ...options], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  process.once("exit", () => child.kill("SIGKILL"));
  const server = { stop: () => { child.kill("SIGTERM"); return ended; } };
  const wantsPin = options.includes("--tls-self-signed");
  const listens = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      server.page ??= /listening on (https:\S+)/.exec(line)?.[1];
      server.pin ??= /the pin sha256\/\/(\S+)/.exec(line)?.[1];
      if (server.page && (server.pin || !wantsPin)) resolve(true);
    });
  });
  ensure(await Promise.race([listens, ended.then(() => false)]), `the server ${options.join(" ")} did not start`);
  return server;
}

/** Why Chromium does not show the page. */
async function refusal(browser, page) {
  const tab = await browser.open("about:blank", Page);
  const { errorText } = await tab.call("Page.navigate", { url: page });
  await tab.close();
  return errorText;
}

/** What a WebSocket from this tab comes to. */
function socket(tab, url) {
  return tab.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(${JSON.stringify(url)});
    socket.onopen = () => { socket.close(); resolve("open"); };
    socket.onclose = ({ code }) => resolve(\`closed with \${code}\`);
  })`);
}

const certificate = (name) => `${process.env.CERTIFICATES}/${name}.pem`;
const made = await serve("--tls-self-signed");
const issued = await serve("--any-origin", "--tls-cert", certificate("server"));
const elsewhere = await serve("--any-origin", "--tls-cert", certificate("elsewhere"));
// The key of this run is trusted, whatever is wrong with its certificate; of others, what the authority issued for their names.
await inChromium(scenario, { flags: [`--ignore-certificate-errors-spki-list=${made.pin}`], authority: certificate("authority") });

async function scenario(browser) {
  const [one, two] = [await browser.open(made.page, Page), await browser.open(made.page, Page)];

  await check("browser: over TLS both connections of both windows are shown as open", async () => {
    for (const tab of [one, two]) {
      for (const id of ["counter-state", "mirror-state"]) await until(`#${id}`, async () => (await tab.state(id)) === "open");
    }
  });

  await check("browser: over TLS the counter counts", async () => {
    const first = await until("a first number", async () => { const count = await one.count(); return count >= 0 && [count]; });
    await until("ten more", async () => (await one.count()) >= first[0] + 10);
  });

  await check("browser: over TLS a stroke in one window appears in the other", () => stroke(one, two, [40, 40], [300, 140], false));

  await check("browser: the page over https has its WebSockets over wss, and all is of one host", async () => {
    const requests = [...one.requests, ...two.requests].filter((url) => !/^(data|blob|about):/.test(url));
    const { host } = new URL(made.page);
    equal(requests.filter((url) => !(url.startsWith(`https://${host}/`) || url.startsWith(`wss://${host}/`))), []);
    equal(requests.filter((url) => url.startsWith("wss:")).length, 4);
  });

  await check("browser: over TLS there are no errors and no warnings on the console", async () => equal([...one.errors, ...two.errors], []));

  await check("browser: the page of a server whose certificate is for another name is refused", async () => {
    equal(await refusal(browser, elsewhere.page), "net::ERR_CERT_COMMON_NAME_INVALID");
  });

  await check("browser: so is a WebSocket to it, and not one to a server whose certificate is right", async () => {
    const tab = await browser.open("about:blank", Page);
    // The page's own policy lets it connect to its server only.
    await tab.call("Page.setBypassCSP", { enabled: true });
    await tab.go(issued.page);
    equal(await socket(tab, issued.page.replace("https:", "wss:")), "open");
    equal(await socket(tab, elsewhere.page.replace("https:", "wss:")), "closed with 1006");
    await until("the reason", () => tab.errors.some((error) => error.includes("net::ERR_CERT_COMMON_NAME_INVALID")));
    await tab.close();
  });

  await check("browser: the servers end in good order", async () => {
    for (const tab of [one, two]) await tab.close();
    for (const server of [made, issued, elsewhere]) equal(await server.stop(), 0);
  });
}
