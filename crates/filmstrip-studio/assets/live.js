// Events as they are recorded. All text comes as it may be shown, and becomes text, never markup.
import "./page.js";

const live = document.getElementById("live");
const rows = document.getElementById("events");
const pause = document.getElementById("pause");
const state = document.getElementById("state");
const head = document.getElementById("head");
const rate = document.getElementById("rate");
const line = document.querySelector("#spark polyline");

const ROWS_MAX = Number(live.dataset.rows);
const number = new Intl.NumberFormat("en");
/// The position up to which everything is shown.
let reached = Number(live.dataset.head);
let newest = reached;
let source = null;
/// The head at the last seconds.
const heads = [];

function cell(row, name, ...children) {
  const cell = document.createElement("td");
  if (name) cell.className = name;
  cell.append(...children);
  row.append(cell);
}

function element(tag, name, text) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function row(event) {
  const row = document.createElement("tr");
  row.className = "new";
  const time = document.createElement("time");
  time.dateTime = time.title = event.recorded;
  time.append(event.recorded.slice(0, 10) + " ", element("span", "clock", event.recorded.slice(11, 19)));
  const film = element("a", "name", event.stream);
  film.href = event.film;
  film.append(element("span", "version", "@" + event.version));
  cell(row, "number", number.format(event.position));
  cell(row, "", time);
  cell(row, "", film);
  cell(row, "type", event.type);
  cell(row, "preview", event.preview);
  return row;
}

function recorded(message) {
  const event = JSON.parse(message.data);
  if (event.position <= reached) return;
  reached = event.position;
  rows.prepend(row(event));
  while (rows.children.length > ROWS_MAX) rows.lastElementChild.remove();
}

function skipped(message) {
  const note = document.createElement("tr");
  const cell = element("td", "more", `${number.format(message.data)} positions were passed over, to stay with the newest`);
  cell.colSpan = 5;
  note.append(cell);
  rows.prepend(note);
}

function connect() {
  const url = new URL(live.dataset.events, location.href);
  url.searchParams.set("after", reached);
  source = new EventSource(url);
  source.onopen = () => say("good", "live");
  source.onerror = () => {
    const isOver = source.readyState === EventSource.CLOSED;
    say("bad", isOver ? "The studio has refused. Reload the page to try again." : "lost, and connecting again");
  };
  source.addEventListener("recorded", recorded);
  source.addEventListener("skipped", skipped);
  source.addEventListener("head", (message) => {
    newest = Number(message.data);
    reached = Math.max(reached, Number(message.lastEventId));
    head.textContent = number.format(newest);
  });
  source.addEventListener("fault", (message) => {
    source.close();
    say("bad", message.data);
  });
}

function say(name, text) {
  state.className = `state badge ${name}`;
  state.textContent = text;
}

/// Events per second over the last five, and each second as a point of the line.
function measure() {
  heads.push(newest);
  if (heads.length > 61) heads.shift();
  const since = Math.min(5, heads.length - 1);
  if (since === 0) return;
  rate.textContent = number.format(Math.round((newest - heads[heads.length - 1 - since]) / since));
  const steps = heads.slice(1).map((head, at) => head - heads[at]);
  const most = Math.max(...steps, 1);
  const points = steps.map((step, at) => `${120 - 2 * (steps.length - 1 - at)},${23 - (22 * step) / most}`);
  line.setAttribute("points", points.join(" "));
}

pause.addEventListener("click", () => {
  const isPaused = pause.getAttribute("aria-pressed") === "true";
  pause.setAttribute("aria-pressed", String(!isPaused));
  pause.textContent = isPaused ? "Pause" : "Go on";
  if (isPaused) {
    connect();
  } else {
    source.close();
    say("idle", "paused");
  }
});

pause.hidden = false;
setInterval(measure, 1000);
connect();
