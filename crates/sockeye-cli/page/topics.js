// A shared canvas and a conversation over the topics of a hub, as an example of `sockeye-topics.js`.

import { Topics } from "./sockeye-topics.js";

const find = (id) => document.getElementById(id);
const [canvas, said, problem] = [find("canvas"), find("said"), find("problem")];
const drawing = canvas.getContext("2d");
const own = `hsl(${Math.floor(Math.random() * 360)} 60% 50%)`;
let gaps = 0;

const state = (name, text) => {
  find("state").dataset.state = name;
  find("state").textContent = text;
};

const url = new URL("topics", location.href);
url.protocol = url.protocol.replace("http", "ws");
// A page that is opened again shows its token again, until its tab is closed.
const kept = sessionStorage.getItem("token");

const topics = new Topics(url, {
  token: kept ?? undefined,
  firstDelay: 250,
  open: () => state("open", "Connected"),
  lost: ({ delay }) => state("closed", `Not connected; next attempt in ${Math.ceil(delay / 1000)} s`),
  error: (error) => complain(error),
});

function complain(error) {
  if (error.code === "denied") {
    find("authorize").hidden = false;
  }
  problem.textContent = error.code === "unknown" ? `It is not known whether all got it: ${error.reason}` : error.reason || error.message;
  problem.hidden = false;
}

async function publish(topic, text) {
  try {
    await topics.publish(topic, text);
    problem.hidden = true;
  } catch (error) {
    complain(error);
  }
}

function missing(topic) {
  gaps += 1;
  find("gaps").hidden = false;
  find("gaps").textContent = `Something may be missing: ${gaps} times, last in ${topic}.`;
  if (topic === "chat") add("Something may be missing here.", "gap");
}

function add(text, kind = "") {
  const line = document.createElement("li");
  line.textContent = text;
  line.className = kind;
  said.append(line);
  while (said.children.length > 200) said.firstChild.remove();
  line.scrollIntoView({ block: "nearest" });
}

/** Draws what somebody published: numbers between 0 and 1, and a colour. */
function draw({ data }) {
  let stroke;
  try {
    stroke = JSON.parse(data);
  } catch {
    return; // anybody may publish anything
  }
  const points = Array.isArray(stroke?.points) ? stroke.points : [];
  const isPlace = (point) => Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
  if (points.length < 2 || !points.every(isPlace)) return;
  drawing.strokeStyle = typeof stroke.colour === "string" ? stroke.colour : "gray";
  drawing.lineWidth = 4;
  drawing.lineCap = "round";
  drawing.lineJoin = "round";
  drawing.beginPath();
  for (const [x, y] of points) drawing.lineTo(x * canvas.width, y * canvas.height);
  drawing.stroke();
}

topics.subscribe("canvas", { last: 1_000_000, message: draw, gap: () => missing("canvas") });
topics.subscribe("chat", {
  last: 100,
  message: ({ data }) => add(typeof data === "string" ? data : `${data.length} bytes`),
  gap: () => missing("chat"),
  presence: ({ count }) => {
    find("count").textContent = count === 1 ? "Only you are at this server." : `${count} are at this server.`;
  },
});

// What the pointer does between two frames is one message.
let points = [];
let isDue = false;

function place(event) {
  const box = canvas.getBoundingClientRect();
  const round = (number) => Math.round(number * 10_000) / 10_000;
  return [round((event.clientX - box.left) / box.width), round((event.clientY - box.top) / box.height)];
}

function flush() {
  isDue = false;
  if (points.length > 1) {
    publish("canvas", JSON.stringify({ colour: own, points }));
    points = points.slice(-1);
  }
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  points = [place(event)];
});
canvas.addEventListener("pointermove", (event) => {
  if (points.length === 0 || points.length > 500) return;
  points.push(place(event));
  if (!isDue) {
    isDue = true;
    setTimeout(flush, 50);
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    flush();
    points = [];
  });
}

find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text").value;
  if (text === "") return;
  find("text").value = "";
  publish("chat", text);
});

find("authorize").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = find("token").value;
  try {
    await topics.authorize(token);
    sessionStorage.setItem("token", token);
    find("authorize").hidden = true;
    problem.hidden = true;
  } catch (error) {
    complain(error);
  }
});
