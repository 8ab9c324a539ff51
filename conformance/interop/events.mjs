// Chromium's EventSource on the page of the example `events`: node events.mjs
//
// The page is reached through a proxy of this script, which can cut its connections. Environment: EXAMPLES is the folder of
// the examples.
import net from "node:net";
import { check, ensure, equal, Peer, until } from "./checks.mjs";
import { inChromium } from "./chromium.mjs";
import { example } from "./examples.mjs";

/** Passes bytes on to a port, and notes what the clients send. */
class Wire {
  static async to(port) {
    const wire = new Wire(port);
    await new Promise((resolve) => wire.server.listen(0, "127.0.0.1", resolve));
    return wire;
  }

  constructor(port) {
    this.sockets = new Set();
    this.streams = new Set();
    this.sent = "";
    this.isCut = false;
    this.server = net.createServer((near) => {
      if (this.isCut) return near.destroy();
      const far = net.connect(port, "127.0.0.1");
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.sockets.add(socket);
        socket.on("error", () => {}); // the close follows
        socket.on("close", () => { this.sockets.delete(socket); this.streams.delete(socket); other.destroy(); });
        socket.pipe(other);
      }
      near.on("data", (bytes) => {
        const text = bytes.toString("latin1");
        this.sent += text;
        if (text.startsWith("GET /events ")) this.streams.add(near);
      });
    });
  }

  get port() {
    return this.server.address().port;
  }

  cut() {
    this.isCut = true;
    this.sockets.forEach((socket) => socket.destroy());
  }

  mend() {
    this.isCut = false;
  }
}

await inChromium(async (browser) => {
  const server = await example("events");
  const wire = await Wire.to(new URL(server.url).port);
  try {
    await scenario(browser, server, wire);
  } finally {
    wire.cut();
    wire.server.close();
    await server.stop();
  }
});

async function scenario(browser, server, wire) {
  const tab = await browser.open(`http://127.0.0.1:${wire.port}/`);
  const chat = await Peer.open(server.url.replace("http:", "ws:"), "chat");
  const heard = () => tab.evaluate("[...document.querySelectorAll('#heard li')].map((item) => item.textContent)");
  const hears = (expected) => until(`to hear ${expected}`, async () => (await heard()).length >= expected.length)
    .then(async () => equal(await heard(), expected));

  await check("events: the page hears what is said over a WebSocket", async () => {
    await until("the stream", () => wire.sent.includes("GET /events "));
    ensure(!wire.sent.includes("Last-Event-ID"), "it had nothing yet");
    for (const text of ["one", "two <b>", "três"]) chat.send(text);
    await hears(["one", "two <b>", "três"]);
  });

  await check("events: what the page says over its WebSocket, it hears in its stream", async () => {
    await until("its WebSocket", () => tab.evaluate("chat.readyState === 1"));
    await tab.evaluate("chat.send('four')");
    await hears(["one", "two <b>", "três", "four"]);
  });

  await check("events: a stream that was cut goes on where it was, with nothing lost or doubled", async () => {
    for (const round of [1, 2]) {
      const before = await heard();
      wire.cut();
      const missed = [1, 2, 3].map((number) => `missed ${round}.${number}`);
      for (const text of missed) chat.send(text);
      for (const text of missed) equal(await chat.text().then(untilText(chat, text)), text);
      wire.sent = "";
      wire.mend();
      await hears([...before, ...missed]);
      ensure(new RegExp(`^Last-Event-ID: ${before.length - 1}\\r$`, "m").test(wire.sent), wire.sent);
      chat.send(`after ${round}`);
      await hears([...before, ...missed, `after ${round}`]);
    }
  }, 60_000);

  await check("events: a page that is closed ends its stream", async () => {
    equal(wire.streams.size, 1);
    await browser.call("Target.closeTarget", { targetId: tab.targetId });
    await until("its stream to end", () => wire.streams.size === 0);
  });
  await chat.close(1000);
}

/** Skips messages until this text: a chat hears what others said as well. */
function untilText(chat, wanted) {
  return async (text) => {
    while (text !== wanted) text = await chat.text();
    return text;
  };
}
