// Moves through a film without loading the page again: scrubber, keys, play.
import { isTyping, replace, request } from "./page.js";

const film = document.getElementById("film");
const strip = document.getElementById("strip");
const scrub = document.getElementById("scrub");
const place = document.getElementById("place");
const play = document.getElementById("play");
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

let version = Number(film.dataset.version);
let last = Number(film.dataset.last);
/// The frame to come to. While one is being loaded, only the newest wish counts.
let wanted = version;
let moving = null;
let isPlaying = false;

const number = new Intl.NumberFormat("en");

function address(of) {
  const url = new URL(location.href);
  url.searchParams.set("version", of);
  return url;
}

function show(to) {
  wanted = Math.min(Math.max(to, 1), last);
  scrub.value = wanted;
  place.textContent = `${number.format(wanted)} of ${number.format(last)}`;
  moving ??= move().finally(() => { moving = null; });
  return moving;
}

async function move() {
  while (wanted !== version) {
    const to = wanted;
    const { status, page } = await request("GET", address(to)).catch(() => ({}));
    const shown = page?.getElementById("film");
    if (status !== 200 || !shown) {
      // The page that says why, of the studio or of the browser.
      location.assign(address(to));
      return;
    }
    take(page, shown);
    history.replaceState(null, "", address(to));
  }
}

function take(page, shown) {
  const hadFocus = strip.contains(document.activeElement);
  version = Number(shown.dataset.version);
  last = Number(shown.dataset.last);
  scrub.max = last;
  document.getElementById("version").max = last;
  document.title = page.title;
  for (const step of film.querySelectorAll("[data-step]")) {
    step.href = page.querySelector(`[data-step="${step.dataset.step}"]`).getAttribute("href");
  }
  replace("strip", page);
  replace("frame", page);
  film.dataset.version = version;
  center();
  if (hadFocus) strip.querySelector("[aria-current]").focus({ preventScroll: true });
}

/// Shows the current frame in the middle of the strip.
function center() {
  const cell = strip.querySelector("[aria-current]");
  strip.scrollLeft = cell.offsetLeft - (strip.clientWidth - cell.offsetWidth) / 2;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function stop() {
  isPlaying = false;
  play.setAttribute("aria-pressed", "false");
  play.setAttribute("aria-label", "Play");
}

async function toggle() {
  if (isPlaying) return stop();
  isPlaying = true;
  play.setAttribute("aria-pressed", "true");
  play.setAttribute("aria-label", "Stop");
  if (version === last) await show(1);
  while (isPlaying && version < last) {
    await pause(isCalm.matches ? 1500 : 700);
    if (isPlaying) await show(version + 1);
  }
  stop();
}

const KEYS = {
  ArrowLeft: () => show(wanted - 1),
  ArrowRight: () => show(wanted + 1),
  PageUp: () => show(wanted - 10),
  PageDown: () => show(wanted + 10),
  Home: () => show(1),
  End: () => show(last),
};

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const move = KEYS[event.key];
  const isOnControl = event.target.closest?.("a, button, summary");
  if (move) {
    event.preventDefault();
    move();
  } else if (event.key === " " && !isOnControl) {
    event.preventDefault();
    toggle();
  }
});

film.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-step], a.cell");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  stop();
  show(Number(new URL(link.href).searchParams.get("version")));
});

scrub.addEventListener("input", () => show(Number(scrub.value)));
play.addEventListener("click", toggle);
play.hidden = false;
document.getElementById("show").hidden = true;
center();
