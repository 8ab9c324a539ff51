"""kamailio's client lwsc: a SIP request waits for the answer of a WebSocket server, on another thread than the client's."""

import socket

from harness import free_port, until
from websocket import CLOSE, Server

CONFIGURATION = """\
debug=2
log_stderror=yes
children=1
listen=udp:127.0.0.1:@SIP@
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "lwsc.so"
modparam("lwsc","protocol","kmsg")
modparam("lwsc","verbosity",1)
request_route {
  if(lwsc_request("ws://127.0.0.1:@WS@/k", "hello $rU")) { sl_send_reply("200","$lwsc(rdata)"); exit; }
  sl_send_reply("500","no answer"); exit;
}
"""


def run(recipe):
    requests, heard = [], []

    def echo(request, peer):
        requests.append(request)
        while True:
            kind, text = peer.message()
            peer.send(kind, text)
            if kind == CLOSE:
                return
            heard.append(text)

    server = Server(echo)
    sip = free_port(socket.SOCK_DGRAM)
    recipe.write("k.cfg", CONFIGURATION, SIP=sip, WS=server.port)
    (recipe.folder / "run").mkdir()
    kamailio = recipe.start(
        "kamailio", "-f", "k.cfg", "-DD", "-E", "-Y", recipe.folder / "run", "-P", recipe.folder / "run/pid", "-m", "64", "-M", "8"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(4)
        phone = Phone(own, sip)
        recipe.check("it answers", until(lambda: phone.ask("first") == "200 hello first", 15), kamailio.output()[-800:])
        answers = [phone.ask(f"user{number}") for number in range(3)]
        recipe.equal("answers come back", answers, [f"200 hello user{number}" for number in range(3)])
        recipe.equal("the server saw", heard[-3:], [b"hello user0", b"hello user1", b"hello user2"])
        head = requests[0]
        recipe.equal("the request", (head.line, head.fields.get("sec-websocket-protocol")), ("GET /k HTTP/1.1", "kmsg"))
        server.stop()
        again = Server(echo, server.port)
        if recipe.is_ours:
            # The library of Debian ignores the time that lws_service is given, and kamailio never comes back there.
            recipe.check("it comes back after the server did", until(lambda: phone.ask("back") == "200 hello back", 15))
        kamailio.look()
        status, _ = kamailio.terminate()
        recipe.equal("its exit status", status, 0)
        recipe.no_complaints(kamailio)
        again.stop()


class Phone:
    def __init__(self, own, port):
        self.own, self.port, self.count = own, port, 0

    def ask(self, user):
        """The status line of the answer, without the version."""
        self.count += 1
        port, count = self.own.getsockname()[1], self.count
        self.own.sendto(
            f"OPTIONS sip:{user}@127.0.0.1:{self.port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{count}\r\n"
            f"Max-Forwards: 10\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:user@127.0.0.1>\r\nCall-ID: c{count}\r\n"
            f"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode(),
            ("127.0.0.1", self.port),
        )
        try:
            while True:
                answer = self.own.recv(4096).decode()
                if f"Call-ID: c{count}\r\n" in answer:
                    return answer.split("\r\n")[0].removeprefix("SIP/2.0 ")
        except OSError as error:
            return str(error)
