"""janus: two servers in one context (sessions and administration) with a thread of its own, and a client that sends events to a
server, which it finds later."""

import itertools
import json
import time

from urllib.error import HTTPError
from urllib.request import urlopen

from harness import free_port, listens, until
from websocket import CLOSE, CONTINUATION, PING, PONG, TEXT, Server, connect

MAIN = """\
general: {
  configs_folder = "@DIR@/janus"
  plugins_folder = "/usr/lib/x86_64-linux-gnu/janus/plugins"
  transports_folder = "/usr/lib/x86_64-linux-gnu/janus/transports"
  events_folder = "/usr/lib/x86_64-linux-gnu/janus/events"
  loggers_folder = "/usr/lib/x86_64-linux-gnu/janus/loggers"
  debug_level = 4
  interface = "127.0.0.1"
  admin_secret = "s3"
  server_name = "oracle"
}
certificates: { }
media: { rtp_port_range = "41000-41100" }
nat: { nice_debug = false, ice_ignore_list = "vmnet" }
plugins: { disable = "libjanus_audiobridge.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,\
libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so,libjanus_lua.so,libjanus_duktape.so" }
transports: { disable = "libjanus_http.so,libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so" }
loggers: { }
events: { broadcast = true, disable = "libjanus_sampleevh.so,libjanus_rabbitmqevh.so,libjanus_mqttevh.so,\
libjanus_nanomsgevh.so,libjanus_gelfevh.so", stats_period = 5 }
"""
TRANSPORT = """\
general: { json = "compact", ws = true, ws_port = @SESSIONS@, ws_ip = "127.0.0.1", wss = false, ws_logging = "err,warn,notice",
  ws_acl = "127.", pingpong_trigger = 1, pingpong_timeout = 3, events = true }
admin: { admin_ws = true, admin_ws_port = @ADMIN@, admin_ws_ip = "127.0.0.1", admin_wss = false, admin_ws_acl = "127." }
cors: { }
certificates: { }
"""
EVENTS = """\
general: { enabled = true, events = "all", grouping = true, json = "compact", backend = "ws://127.0.0.1:@EVENTS@/ev",
  subprotocol = "events", ws_logging = "err,warn,notice" }
"""


def run(recipe):
    sessions, admin, events = free_port(), free_port(), free_port()
    values = {"DIR": recipe.folder, "SESSIONS": sessions, "ADMIN": admin, "EVENTS": events}
    recipe.write("janus/janus.jcfg", MAIN, **values)
    recipe.write("janus/janus.transport.websockets.jcfg", TRANSPORT, **values)
    recipe.write("janus/janus.eventhandler.wsevh.jcfg", EVENTS, **values)
    janus = recipe.start("janus", "-F", recipe.folder / "janus")
    recipe.check("it listens", until(lambda: listens(sessions) and listens(admin), 20), janus.output()[-1500:])
    janus.look()
    arrays, requests = [], []

    def collect(request, peer):
        requests.append(request)
        while True:
            kind, text = peer.message()
            if kind == CLOSE:
                peer.send(CLOSE, text)
                return
            arrays.append(json.loads(text))

    # Only now: the first attempts to connect have failed.
    server = Server(collect, events)
    speak(recipe, sessions, admin)
    recipe.check("events arrive", until(lambda: len(arrays) >= 3, 15), arrays)
    found = {(request.line, request.fields.get("sec-websocket-protocol")) for request in requests}
    recipe.equal("the event handler's request", found, {("GET /ev HTTP/1.1", "events")})
    status, seconds = janus.terminate()
    recipe.equal("its exit status", status, 0)
    if recipe.is_ours:
        recipe.check("it ends soon", seconds < 2, seconds)
    recipe.no_complaints(janus)
    server.stop()


def speak(recipe, sessions, admin):
    peer = connect(sessions, protocol="janus-protocol", fields="Origin: http://x.example\r\n")
    head = peer.head.lower()
    recipe.check("the handshake", head.startswith("http/1.1 101 "), peer.head)
    for field in ("sec-websocket-protocol: janus-protocol", "access-control-allow-origin: *"):
        recipe.check(field, field in head, peer.head)
    call = Caller(peer)
    answer = call.ask(janus="info")
    recipe.equal("info", (answer["janus"], answer["server-name"]), ("server_info", "oracle"))
    session = call.ask(janus="create")["data"]["id"]
    handle = call.ask(janus="attach", session_id=session, plugin="janus.plugin.echotest")["data"]["id"]
    recipe.equal("keepalive", call.ask(janus="keepalive", session_id=session)["janus"], "ack")
    body = {"audio": True, "pad": "z" * 20000}
    text = json.dumps({"janus": "message", "session_id": session, "handle_id": handle, "transaction": "big", "body": body})
    for at in range(0, len(text), 3000):
        opcode = CONTINUATION if at else TEXT
        peer.send(opcode, text[at : at + 3000].encode(), last=at + 3000 >= len(text))
    # The plugin answers on a thread of its own, so either may be first.
    kinds = {call.answer("big")["janus"], call.answer("big")["janus"]}
    recipe.equal("a message in fragments", kinds, {"ack", "event"})
    administer(recipe, admin, session, handle)
    refuse(recipe, sessions)
    recipe.check("pings come", call.pinged(), "none")
    recipe.equal("destroy", call.ask(janus="destroy", session_id=session)["janus"], "success")
    peer.send(CLOSE, b"\x03\xe8")
    last = next(frame for frame in iter(peer.frame, None) if frame[1] == CLOSE)
    recipe.equal("the close is answered", last[2], b"\x03\xe8")


def administer(recipe, port, session, handle):
    call = Caller(connect(port, protocol="janus-admin-protocol"))
    recipe.equal("list_sessions", call.ask(janus="list_sessions", admin_secret="s3")["sessions"], [session])
    query = {"transport": "janus.transport.websockets", "request": {"request": "connections"}}
    answer = call.ask(janus="query_transport", admin_secret="s3", **query)["response"]
    recipe.equal("connections", answer.get("connections"), 2)
    info = call.ask(janus="handle_info", admin_secret="s3", session_id=session, handle_id=handle)
    recipe.check("handle_info", len(json.dumps(info)) > 300, info)


def refuse(recipe, port):
    head = connect(port).head
    recipe.check("no subprotocol is refused", not head.startswith("HTTP/1.1 101"), head)
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            status = page.status
    except HTTPError as error:
        status = error.code
    recipe.equal("GET is refused", status, 403)


class Caller:
    def __init__(self, peer):
        self.peer, self.numbers = peer, itertools.count()

    def ask(self, **message):
        message["transaction"] = f"t{next(self.numbers)}"
        self.peer.send(TEXT, json.dumps(message).encode())
        return self.answer(message["transaction"])

    def answer(self, transaction):
        """The next message that answers it."""
        while True:
            kind, text = self.peer.message()
            if kind == CLOSE:
                raise EOFError(f"closed: {text!r}")
            answer = json.loads(text)
            if answer.get("transaction") == transaction:
                return answer

    def pinged(self):
        end = time.monotonic() + 8
        while time.monotonic() < end:
            _, opcode, payload = self.peer.frame()
            if opcode == PING:
                self.peer.send(PONG, payload)
                return True
        return False
