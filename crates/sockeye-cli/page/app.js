// The page of `sockeye serve`: a counter and a shared canvas, each on a WebSocket of its own.
//
// The canvas keeps the coordinates of 2013 (480 x 300, whatever the size on the screen) and its commands:
//   d #rrggbb x1 y1 x2 y2;     a line
//   c #rrggbb x y r;           a circle
// and one of our own, by itself in a message:
//   e;                         erase the canvas of everybody
// so that programs written for libwebsockets can draw with us. Several commands may share a message. What the server itself
// says comes as binary, which nobody can send through it:
//   pages N                    so many windows show the canvas

const WIDTH = 480;
const HEIGHT = 300;
const PEN = 2.2; // width of a line, in the same units
const MESSAGE = 8 * 1024; // characters in one message; the server takes 64 KiB
const BUFFERED = 256 * 1024; // bytes the browser may hold for a slow network before we wait
const UNCONFIRMED = 400; // messages of ours shown before they came back

const byId = (id) => document.getElementById(id);

// ---- Connections -------------------------------------------------------------------------------

const RETRY_FIRST = 500; // ms; doubles up to RETRY_MOST, less a random part so that windows do not come back as one
const RETRY_MOST = 15000;
const NORMAL = 1000; // the server has finished with us: do not press

/** A WebSocket that comes back, and says on the page how it is. */
class Link {
  constructor(protocol, query, state, on) {
    this.protocol = protocol;
    this.query = query;
    this.state = state;
    this.on = on;
    this.retry = RETRY_FIRST;
    this.timer = 0;
    // A phone that wakes up, or finds its network again, should not wait for the timer.
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.show("connecting", "Connecting");
    const url = new URL(".", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = this.query;
    url.hash = "";
    const socket = new WebSocket(url, this.protocol);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.show("open", "Connected");
      this.on.open?.();
    };
    socket.onmessage = ({ data }) => {
      this.retry = RETRY_FIRST;
      if (typeof data === "string") this.on.message(data);
      else this.on.news?.(new TextDecoder().decode(data));
    };
    socket.onclose = ({ code, reason }) => {
      this.on.close?.();
      if (code === NORMAL) this.finished();
      else this.later(reason);
    };
  }

  later(reason) {
    const wait = this.retry * (0.75 + Math.random() / 4);
    this.retry = Math.min(this.retry * 2, RETRY_MOST);
    const seconds = Math.max(1, Math.round(wait / 1000));
    this.show("closed", `Disconnected${reason ? ` (${reason})` : ""}, trying again in ${seconds} s`);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  finished() {
    this.show("closed", "Closed by the server");
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Connect again";
    again.onclick = () => this.connect();
    this.state.append(again);
  }

  hurry() {
    if (this.timer) this.connect();
  }

  /** False when the message cannot go now. */
  send(text) {
    if (!this.open || this.socket.bufferedAmount > BUFFERED) return false;
    this.socket.send(text);
    return true;
  }

  show(state, words) {
    const span = document.createElement("span");
    span.textContent = words;
    this.state.replaceChildren(span);
    this.state.dataset.state = state;
  }
}

// ---- Counter -----------------------------------------------------------------------------------

const counter = byId("counter");
const reset = byId("reset");

const counting = new Link("dumb-increment-protocol", "", byId("counter-state"), {
  open() {
    reset.disabled = false;
    counter.classList.remove("stale");
  },
  message(text) {
    counter.textContent = text.slice(0, 40);
  },
  close() {
    reset.disabled = true;
    counter.classList.add("stale");
  },
});

reset.onclick = () => counting.send("reset\n");

// ---- Drawing -----------------------------------------------------------------------------------

const canvas = byId("canvas");
const paper = canvas.parentElement;
const SCALE = canvas.width / WIDTH;

/** A sheet that draws in the coordinates of the protocol. */
function sheet(element) {
  const ink = element.getContext("2d");
  ink.scale(SCALE, SCALE);
  ink.lineWidth = PEN;
  ink.lineCap = ink.lineJoin = "round";
  return ink;
}

// Everything that came from the server is on `shared`. What we drew and have not got back yet is on `own`, above it:
// the ink is under the finger at once, and yet every window ends with the same strokes in the same order.
const shared = sheet(canvas);
const overlay = document.createElement("canvas");
overlay.className = "overlay";
overlay.width = canvas.width;
overlay.height = canvas.height;
overlay.setAttribute("aria-hidden", "true");
canvas.after(overlay);
const own = sheet(overlay);
let unconfirmed = []; // messages sent, oldest first
let batch = []; // commands of this animation frame

const ERASE = "e;";
const COLOUR = /^(#[0-9a-f]{3,8}|[a-z]{1,24})$/i;

/** Draws one message. It comes from anybody: what does not read as a command is left out. */
function draw(ink, message) {
  if (message === ERASE) return wipe(ink);
  for (const command of message.split(";")) {
    const [verb, colour, ...rest] = command.trim().split(/\s+/);
    const [a, b, c, d] = rest.map(Number);
    if (!COLOUR.test(colour ?? "")) continue;
    if (verb === "d" && [a, b, c, d].every(Number.isFinite)) line(ink, colour, a, b, c, d);
    else if (verb === "c" && [a, b, c].every(Number.isFinite) && c >= 0) circle(ink, colour, a, b, c);
  }
}

function line(ink, colour, x1, y1, x2, y2) {
  ink.beginPath();
  if (x1 === x2 && y1 === y2) {
    ink.fillStyle = colour; // a line without length is a dot
    ink.arc(x1, y1, PEN / 2, 0, 2 * Math.PI);
    ink.fill();
    return;
  }
  ink.strokeStyle = colour;
  ink.moveTo(x1, y1);
  ink.lineTo(x2, y2);
  ink.stroke();
}

function circle(ink, colour, x, y, radius) {
  ink.beginPath();
  ink.strokeStyle = colour;
  ink.arc(x, y, radius, 0, 2 * Math.PI);
  ink.stroke();
}

function wipe(ink) {
  ink.clearRect(0, 0, WIDTH, HEIGHT);
}

/** Shows again what is still on its way. */
function redrawOwn() {
  wipe(own);
  for (const message of unconfirmed) draw(own, message);
  draw(own, batch.join(""));
}

const visitors = byId("visitors");

const mirror = new Link("lws-mirror-protocol", "canvas", byId("mirror-state"), {
  open() {
    paper.classList.remove("waiting");
    wipe(shared); // what was drawn so far follows
  },
  message(text) {
    draw(shared, text);
    const mine = unconfirmed.indexOf(text);
    if (mine < 0) return;
    unconfirmed.splice(0, mine + 1); // ours come back in the order in which they went
    redrawSoon();
  },
  news(text) {
    const count = Number(/^pages (\d+)$/.exec(text)?.[1] ?? 0);
    if (count > 0) visitors.textContent = count === 1 ? "Only you are here" : `${count} are here`;
  },
  close() {
    paper.classList.add("waiting");
    visitors.textContent = "";
    unconfirmed = [];
    batch = [];
    strokes.clear();
    lift();
    wipe(own);
  },
});

let redrawing = false;

function redrawSoon() {
  if (redrawing) return;
  redrawing = true;
  requestAnimationFrame(() => {
    redrawing = false;
    redrawOwn();
  });
}

// ---- Strokes: gathered for one animation frame, then sent as one message ---------------------------

let flushing = false;

function stroke(from, to) {
  const command = `d ${colour} ${from.x} ${from.y} ${to.x} ${to.y};`;
  batch.push(command);
  draw(own, command);
  flushSoon();
}

function flushSoon() {
  if (flushing) return;
  flushing = true;
  requestAnimationFrame(flush);
}

function flush() {
  flushing = false;
  while (batch.length > 0) {
    let length = 0;
    let count = 0;
    while (count < batch.length && (length += batch[count].length) <= MESSAGE) count += 1;
    const message = batch.slice(0, count).join("");
    if (!mirror.send(message)) {
      if (mirror.open) flushSoon(); // the network is behind: the strokes wait
      return;
    }
    batch.splice(0, count);
    unconfirmed.push(message);
    if (unconfirmed.length > UNCONFIRMED) unconfirmed.shift();
  }
}

/** One decimal place: finer than a pixel on most screens, and short. */
const tenth = (value) => Math.round(value * 10) / 10;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: tenth(((event.clientX - box.left) / box.width) * WIDTH),
    y: tenth(((event.clientY - box.top) / box.height) * HEIGHT),
  };
}

const strokes = new Map(); // pointer id -> where it was
let pointed = false; // the focus is being set by a pointer

canvas.addEventListener("pointerdown", (event) => {
  if (!mirror.open || event.button !== 0) return;
  event.preventDefault();
  pointed = true;
  canvas.focus({ preventScroll: true });
  pointed = false;
  paper.classList.remove("keyed");
  lift();
  canvas.setPointerCapture(event.pointerId);
  const at = place(event);
  strokes.set(event.pointerId, at);
  stroke(at, at);
});

canvas.addEventListener("pointermove", (event) => {
  if (!strokes.has(event.pointerId)) return;
  const all = event.getCoalescedEvents?.() ?? []; // browsers give them to secure contexts only
  for (const one of all.length > 0 ? all : [event]) {
    const from = strokes.get(event.pointerId);
    const to = place(one);
    if (from.x === to.x && from.y === to.y) continue;
    stroke(from, to);
    strokes.set(event.pointerId, to);
  }
});

for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
  canvas.addEventListener(end, (event) => strokes.delete(event.pointerId));
}

// ---- The keyboard: arrow keys move a pen, Space puts it down and lifts it -------------------------

const pen = byId("pen");
const cursor = { x: WIDTH / 2, y: HEIGHT / 2, down: false };
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape") {
    lift();
    return;
  }
  const move = MOVES[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  paper.classList.add("keyed");
  if (!move) {
    if (event.repeat || !mirror.open) return;
    cursor.down = !cursor.down;
    if (cursor.down) stroke(cursor, cursor);
  } else {
    const step = event.shiftKey ? 20 : 4;
    const to = {
      x: Math.min(WIDTH, Math.max(0, cursor.x + move[0] * step)),
      y: Math.min(HEIGHT, Math.max(0, cursor.y + move[1] * step)),
    };
    if (cursor.down && mirror.open) stroke(cursor, to);
    Object.assign(cursor, to);
  }
  showPen();
});

canvas.addEventListener("blur", () => {
  lift();
  paper.classList.remove("keyed");
});
// Tab came here, not a pointer, which sets the focus itself.
canvas.addEventListener("focus", () => paper.classList.toggle("keyed", !pointed));

function showPen() {
  pen.hidden = false;
  pen.classList.toggle("down", cursor.down);
  pen.style.left = `${(cursor.x / WIDTH) * 100}%`;
  pen.style.top = `${(cursor.y / HEIGHT) * 100}%`;
}

function lift() {
  cursor.down = false;
  pen.hidden = true;
}

// ---- Colours -----------------------------------------------------------------------------------

const colours = byId("colours");
const ownColour = byId("own-colour");
let colour = "#1f2d33";

function chooseColour() {
  const chosen = colours.querySelector("input[type=radio]:checked");
  colour = chosen ? chosen.value : ownColour.value;
  ownColour.toggleAttribute("data-chosen", !chosen);
  pen.style.setProperty("--ink", colour);
}

for (const swatch of colours.querySelectorAll("input[type=radio]")) {
  swatch.style.setProperty("--swatch", swatch.value);
  swatch.addEventListener("change", chooseColour);
}

// The own colour is chosen with a click already: who looks at the choice and keeps the colour wants that one.
for (const choice of ["click", "input"]) {
  ownColour.addEventListener(choice, () => {
    const other = colours.querySelector("input[type=radio]:checked");
    if (other) other.checked = false;
    chooseColour();
  });
}
chooseColour();

byId("clear").onclick = () => {
  flush(); // what was drawn before goes first
  mirror.send(ERASE);
};
