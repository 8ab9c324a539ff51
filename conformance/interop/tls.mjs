// What node's TLS and `ws` find at `sockeye echo` over TLS: node tls.mjs wss://HOST:PORT/
//
// Environment: ASKING is the URL of a second one, which demands certificates of its clients; CERTIFICATES is the folder of certificates.
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { check, ensure, equal, finish, Peer } from "./checks.mjs";

const url = process.argv[2];
const asking = process.env.ASKING;
const pem = (name) => readFileSync(`${process.env.CERTIFICATES}/${name}.pem`);
const of = (name) => ({ cert: pem(name), key: pem(name) });

/** A handshake of TLS and nothing more: how it ended. */
function handshake(options) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port, ...options }, () => {
      resolve({ alpn: socket.alpnProtocol, version: socket.getProtocol(), name: socket.getPeerCertificate().subject.CN });
      socket.end();
    });
    socket.once("error", reject);
  });
}

/** `ws` does not get through; this is why. */
async function refused(target, options) {
  const peer = await Peer.open(target, [], options).catch((error) => ({ error }));
  if (peer.error) return `${peer.error.code}: ${peer.error.message}`;
  // With TLS 1.3 a client is done before its certificate is looked at.
  const { code } = await peer.closed;
  return `closed with ${code}`;
}

for (const version of ["TLSv1.2", "TLSv1.3"]) {
  const only = { minVersion: version, maxVersion: version };
  await check(`node: ${version} is spoken`, async () => {
    equal(await handshake(only), { alpn: false, version, name: "Sockeye server" });
  });

  for (const offered of [["http/1.1"], ["h2", "http/1.1"]]) {
    await check(`node: ${version}: of ${offered.join(" and ")} http/1.1 is taken`, async () => {
      equal((await handshake({ ...only, ALPNProtocols: offered })).alpn, "http/1.1");
    });
  }

  await check(`node: ${version}: h2 alone is refused with the alert for it`, async () => {
    const error = await handshake({ ...only, ALPNProtocols: ["h2"] }).then(() => undefined, (error) => error);
    equal(error?.code, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
  });

  await check(`node: ${version}: a client with a certificate is served where that is demanded`, async () => {
    const peer = await Peer.open(asking, [], { ...only, ...of("client") });
    peer.send("who am I?");
    equal(await peer.text(), "who am I?");
    equal((await peer.close(1000)).code, 1000);
  });

  await check(`node: ${version}: a client without one is not`, async () => {
    const why = await refused(asking, only);
    ensure(/alert certificate required/i.test(why), why);
  });

  await check(`node: ${version}: one with a certificate of an unknown authority is not`, async () => {
    const why = await refused(asking, { ...only, ...of("impostor") });
    ensure(/alert unknown ca/i.test(why), why);
  });

  await check(`node: ${version}: one with a certificate is served where none is demanded`, async () => {
    const peer = await Peer.open(url, [], { ...only, ...of("client") });
    peer.send("hello");
    equal(await peer.text(), "hello");
    equal((await peer.close(1000)).code, 1000);
  });
}

await check("node: the certificate of the server is not one for another name", async () => {
  const error = await handshake({ servername: "elsewhere.example" }).then(() => undefined, (error) => error);
  equal(error?.code, "ERR_TLS_CERT_ALTNAME_INVALID");
});

await check("node: after all that the server serves", async () => {
  for (const [target, options] of [[url, {}], [asking, of("client")]]) {
    const peer = await Peer.open(target, [], options);
    peer.send("still there?");
    equal(await peer.text(), "still there?");
    equal((await peer.close(1000)).code, 1000);
  }
});

finish();
