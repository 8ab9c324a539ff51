// The page of `sockeye serve`, or of what serves the same, in Chromium: node browser.mjs ws://HOST:PORT/
//
// Environment: SERVER is the command line, as a JSON array, of the server
// that is tested (one check starts and ends one of its own; `:PORT` at an argument's end, or an argument `PORT`, becomes
// its port).
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { check, ensure, equal, until } from "./checks.mjs";
import { inChromium } from "./chromium.mjs";
import { between, Page, stroke } from "./page.mjs";

const page = process.argv[2].replace("ws:", "http:");
await inChromium(scenario);

async function scenario(browser) {
  const [one, two] = [await browser.open(page, Page), await browser.open(page, Page)];

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

  // The example of a bare loop has the page, and a plain mirror.
  if (JSON.parse(process.env.SERVER).includes("serve")) await sharing(browser, one, two);

  await check("browser: the own colour is one choice among the others", async () => {
    const chosen = () => one.evaluate(`document.querySelector("#colours input[type=radio]:checked")?.value ?? "own"`);
    const ink = async (at) => (await two.colour(at)).join();
    equal(await chosen(), "#1f2d33");
    await one.evaluate(`(() => {
      const own = document.getElementById("own-colour");
      own.value = "#12ab56";
      own.dispatchEvent(new Event("input", { bubbles: true }));
    })()`);
    equal(await chosen(), "own");
    await one.draw([[20, 250], [460, 250]]);
    await until("a line of this colour", async () => (await ink([240, 250])) === "18,171,86");
    await one.evaluate(`document.querySelector("#colours input[type=radio]").click()`);
    equal(await chosen(), "#1f2d33");
    await one.draw([[20, 220], [460, 220]]);
    await until("a line of ink", async () => (await ink([240, 220])) === "31,45,51");
    equal(await ink([240, 250]), "18,171,86");
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
    await two.call("Emulation.setDeviceMetricsOverride", { width: 320, height: 640, deviceScaleFactor: 2, mobile: true });
    equal(await two.evaluate("[document.documentElement.scrollWidth, innerWidth]"), [320, 320]);
    await two.picture("page-small");
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
  await check("browser: a server that goes away is shown, and one that comes back is found", () => comesBack(browser), 60_000);
}

async function sharing(browser, one, two) {
  await check("browser: each window says how many there are", async () => {
    const says = (tab, words) => until(words, async () => (await tab.text("visitors")) === words);
    for (const tab of [one, two]) await says(tab, "2 are here");
    const third = await browser.open(page, Page);
    for (const tab of [one, two, third]) await says(tab, "3 are here");
    await third.close();
    for (const tab of [one, two]) await says(tab, "2 are here");
  });

  await check("browser: who comes late sees what was drawn", async () => {
    const path = between([20, 270], [460, 285]);
    const blank = await one.pixels(path);
    await one.draw([[20, 270], ...path, [460, 285]]);
    await until("the stroke", async () => (await one.pixels(path)).every((sum, i) => sum !== blank[i]));
    const late = await browser.open(page, Page);
    await until("it in a later window", async () => (await late.pixels(path)).every((sum, i) => sum !== blank[i]));
    await late.close();
  });
}

async function comesBack(browser) {
  let server = await serve(0);
  try {
    const tab = await browser.open(`http://127.0.0.1:${server.port}/`, Page);
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
      const match = /listening on (?:http|ws):\/\/127\.0\.0\.1:(\d+)/.exec(line);
      if (match) resolve(Number(match[1]));
    });
    ended.then(() => resolve(0));
  });
  ensure(found !== 0, `the server on port ${port} did not start`);
  return { port: found, stop };
}
