// node's `ws` against `sockeye echo`: node echo.mjs ws://HOST:PORT/
import { check, ensure, equal, finish, Peer } from "./checks.mjs";

const url = process.argv[2];
// Whether the server compresses for those who offer it, as `ws` does.
const compresses = JSON.parse(process.env.SERVER).includes("--compress");
const MESSAGE_LIMIT = 16 << 20;
const SIZES = [0, 1, 125, 126, 65535, 65536, MESSAGE_LIMIT];

/** Bytes that differ from place to place, so that a mix-up shows. */
function bytes(size) {
  const all = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i += 1) all[i] = (i * 31 + (i >> 8)) & 0xff;
  return all;
}

/** Text of so many bytes, of code points of one to four bytes. */
function text(size) {
  const all = Buffer.alloc(size, "aé€𝄞-"); // eleven bytes
  all.fill("x", size - (size % 11));
  return all;
}

async function echoes(peer, data, isBinary) {
  peer.send(data, { binary: isBinary });
  const reply = await peer.message();
  equal(reply.isBinary, isBinary);
  ensure(reply.data.equals(data), `${reply.data.length} other bytes came back for ${data.length}`);
}

for (const size of SIZES) {
  for (const isBinary of [false, true]) {
    await check(`ws: ${isBinary ? "binary" : "text"} of ${size} bytes`, async () => {
      const peer = await Peer.open(url);
      await echoes(peer, isBinary ? bytes(size) : text(size), isBinary);
      equal((await peer.close(1000)).code, 1000);
    }, 60_000);
  }
}

await check("ws: one byte over the limit is refused with 1009", async () => {
  const peer = await Peer.open(url);
  peer.send(bytes(MESSAGE_LIMIT + 1));
  equal((await peer.closed).code, 1009);
}, 60_000);

await check("ws: fragments come back as one message, code points cut apart included", async () => {
  const peer = await Peer.open(url);
  const whole = text(1001);
  for (const step of [1, 7, 500]) {
    for (const isBinary of [false, true]) {
      for (let at = 0; at < whole.length; at += step) {
        peer.send(whole.subarray(at, at + step), { binary: isBinary, fin: at + step >= whole.length });
      }
      const reply = await peer.message();
      equal(reply.isBinary, isBinary);
      ensure(reply.data.equals(whole), `cut into ${step}: ${reply.data.length} other bytes came back`);
    }
  }
});

await check("ws: empty fragments, the last one too", async () => {
  const peer = await Peer.open(url);
  for (const piece of ["", "a", "", "b"]) peer.send(piece, { fin: false });
  peer.send("", { fin: true });
  equal(await peer.text(), "ab");
});

await check("ws: pings are answered with their payload, between fragments too", async () => {
  const peer = await Peer.open(url);
  for (const size of [0, 1, 125]) {
    const pong = peer.pong();
    peer.socket.ping(bytes(size));
    ensure((await pong).equals(bytes(size)), `another payload than the ping's ${size} bytes`);
  }
  peer.send("one ", { fin: false });
  const pong = peer.pong();
  peer.socket.ping("between");
  equal((await pong).toString(), "between");
  peer.send("message", { fin: true });
  equal(await peer.text(), "one message");
});

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
  await check(`ws: close code ${code} comes back`, async () => {
    const peer = await Peer.open(url);
    equal((await peer.close(code, "until later")).code, code);
  });
}

await check("ws: a close without a code comes back without one", async () => {
  const peer = await Peer.open(url);
  equal((await peer.close()).code, 1005);
});

await check("ws: what was sent right before the close comes back before it", async () => {
  const peer = await Peer.open(url);
  for (let i = 0; i < 100; i += 1) peer.send(`${i}`);
  peer.socket.close(1000);
  for (let i = 0; i < 100; i += 1) equal(await peer.text(), `${i}`);
  equal((await peer.closed).code, 1000);
});

await check(`ws: one of the subprotocols offered is spoken; compression is ${compresses ? "accepted" : "declined"}`, async () => {
  const offered = ["chat.example", "superchat"];
  const peer = await Peer.open(url, offered);
  ensure(offered.includes(peer.socket.protocol), `"${peer.socket.protocol}" was not offered`);
  equal(peer.socket.extensions, compresses ? "permessage-deflate" : "");
  await echoes(peer, text(100), false);
});

await check("ws: any path will do", async () => {
  const peer = await Peer.open(new URL("/some/where?else=1", url).href);
  await echoes(peer, text(100), false);
});

await check("ws: 5,000 messages in flight come back in order", async () => {
  const peer = await Peer.open(url);
  const count = 5000;
  for (let i = 0; i < count; i += 1) peer.send(`${i} ${"x".repeat(i % 300)}`);
  for (let i = 0; i < count; i += 1) equal(await peer.text(), `${i} ${"x".repeat(i % 300)}`);
});

await check("ws: a peer that reads late gets everything, in order", async () => {
  const peer = await Peer.open(url);
  peer.socket.pause();
  const block = bytes(1 << 20);
  for (let i = 0; i < 48; i += 1) {
    block[0] = i;
    peer.send(Buffer.from(block));
  }
  // Both directions are full once nothing more leaves: only then is reading taken up.
  for (let before = -1; before !== peer.socket.bufferedAmount; ) {
    before = peer.socket.bufferedAmount;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  peer.socket.resume();
  for (let i = 0; i < 48; i += 1) {
    block[0] = i;
    ensure((await peer.message()).data.equals(block), `message ${i} is not what was sent`);
  }
}, 60_000);

await check("ws: a peer that vanishes harms nobody", async () => {
  const stays = await Peer.open(url);
  for (let i = 0; i < 50; i += 1) {
    const goes = await Peer.open(url);
    goes.send(bytes(100_000));
    goes.socket.terminate();
  }
  await echoes(stays, text(1000), false);
});

finish();
