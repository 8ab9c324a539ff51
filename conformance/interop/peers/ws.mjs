// A server made of node's `ws`, for `conformance-client peer`: node ws.mjs. What it has to know stands in
// conformance/src/client/peer.rs. With CERTIFICATE in the environment, a PEM file with a certificate and its key, it speaks TLS;
// with COMPRESS=1 it compresses for those who offer it.
import { readFileSync } from "node:fs";
import { createServer as createPlain } from "node:http";
import { createServer as createSecure } from "node:https";
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(`${process.env.NODE_MODULES}/`)("ws");

/** How connections with a ticket were closed, or who waits to hear of it. */
const closes = new Map();
const waiting = new Map();

const certificate = process.env.CERTIFICATE;
const pem = certificate && readFileSync(certificate);
const http = certificate ? createSecure({ cert: pem, key: pem }) : createPlain();

const server = new WebSocketServer({
  server: http,
  perMessageDeflate: process.env.COMPRESS === "1",
  verifyClient: ({ req }, answer) => {
    if (req.url === "/refuse") answer(false, 403, "go away");
    else if (req.url === "/moved") answer(false, 302, "elsewhere", { Location: "/request" });
    else answer(true);
  },
  handleProtocols: (offered) => (offered.has("superchat") ? "superchat" : false),
});

server.on("connection", (socket, request) => {
  const url = new URL(request.url, "ws://127.0.0.1/");
  const ticket = url.searchParams.get("ticket");
  socket.on("error", (error) => console.error(request.url, error));
  if (url.pathname === "/seen") return seen(socket, ticket);
  let messages = 0;
  socket.on("message", () => (messages += 1));
  if (ticket !== null) socket.on("close", (code, reason) => remember(ticket, `${messages} ${code} ${reason}`));
  if (url.pathname === "/close") {
    const code = url.searchParams.get("code");
    if (code === null) socket.close();
    else socket.close(Number(code), url.searchParams.get("reason"));
  } else if (url.pathname === "/drop") {
    socket.terminate();
  } else if (url.pathname === "/request") {
    const fields = ["host", "origin", "authorization", "x-sockeye"];
    socket.send([request.url, ...fields.map((name) => request.headers[name] ?? "-")].join("\n"));
  } else if (url.pathname === "/ping") {
    ping(socket);
  } else {
    const cut = Number(url.searchParams.get("cut") ?? 0);
    socket.on("message", (data, isBinary) => echo(socket, data, isBinary, cut));
  }
});

function echo(socket, data, isBinary, cut) {
  if (cut === 0) return socket.send(data, { binary: isBinary });
  for (let at = 0; at < data.length; at += cut) {
    socket.send(data.subarray(at, at + cut), { binary: isBinary, fin: false });
  }
  socket.send("", { binary: isBinary, fin: true });
}

function remember(ticket, text) {
  closes.set(ticket, text);
  waiting.get(ticket)?.(text);
}

function seen(socket, ticket) {
  if (closes.has(ticket)) socket.send(closes.get(ticket));
  else waiting.set(ticket, (text) => socket.send(text));
}

async function ping(socket) {
  let pongs = 0;
  for (const size of [0, 1, 125]) {
    const payload = Buffer.alloc(size, "pong");
    const pong = new Promise((resolve) => socket.once("pong", resolve));
    socket.ping(payload);
    pongs += payload.equals(await pong) ? 1 : 0;
  }
  socket.send(`pongs: ${pongs}`);
}

const scheme = certificate ? "wss" : "ws";
http.listen(0, "127.0.0.1", () => console.log(`listening on ${scheme}://127.0.0.1:${http.address().port}/`));
process.on("SIGTERM", () => process.exit(0));
