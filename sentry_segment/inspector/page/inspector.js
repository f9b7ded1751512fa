// The page: the stream of what arrives, the list, the details, the keys.

import { copy, count } from "./dom.js";
import { showDetails } from "./details.js";
import { List } from "./list.js";
import { drawPlot } from "./plot.js";
import { Rows } from "./rows.js";

const MOST_HELD = 10_000; // records, as many as the server keeps
const $ = (id) => document.getElementById(id);

const rows = new Rows();
const list = new List($("list"), $("rows"), open);
let held = []; // events of the stream that came in a pause
let isPaused = false;
let opened = null; // a row's key
let openedVersion = null;
let isDrawn = true;

// Drawing: once a frame, however much arrives.

function draw() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    const found = rows.found($("search").value);
    const isEmpty = !rows.rows.length;
    $("empty").hidden = !isEmpty;
    $("list").hidden = isEmpty;
    $("nothing").hidden = isEmpty || found.length > 0;
    $("nothing").textContent = "No row holds all of these words.";
    list.show(found);
    drawPlot($("plot"), found);
    drawDetails();
    drawCounts(found);
  });
}

function drawDetails() {
  const row = rows.byKey.get(opened);
  if (row === undefined) return close();
  if (openedVersion === row.version) return;
  openedVersion = row.version;
  showDetails($("details"), row, close);
}

function drawCounts(found) {
  const others = Object.entries(rows.others).map(([kind, number]) => `${kind} ${number.toLocaleString("en")}`);
  const said = [
    found.length === rows.rows.length
      ? count(found.length, "row")
      : `${found.length.toLocaleString("en")} of ${count(rows.rows.length, "row")}`,
  ];
  if (others.length) said.push(`other items at Sentry: ${others.join(", ")}`);
  $("counts").textContent = said.join(" · ");
}

// Details

const isNarrow = () => matchMedia("(max-width: 60rem)").matches;

function open(key) {
  opened = key;
  openedVersion = null;
  $("details").hidden = false;
  document.body.dataset.details = "open";
  drawDetails();
  $("details").scrollTop = 0;
  if (isNarrow()) $("details").focus();
  list.activate(key); // the list has become narrower
}

function close() {
  if ($("details").hidden) return;
  const hadFocus = $("details").contains(document.activeElement);
  opened = openedVersion = null;
  $("details").hidden = true;
  $("details").replaceChildren();
  delete document.body.dataset.details;
  if (hadFocus) $("list").focus({ preventScroll: true });
}

// Pause

function pause(yes) {
  isPaused = yes;
  $("pause").setAttribute("aria-pressed", yes);
  if (!yes) {
    for (const event of held) rows.take(event);
    held = [];
    draw();
  }
  drawStatus();
}

function hold(event) {
  held.push(event);
  let number = held.reduce((sum, { records }) => sum + records.length, 0);
  while (number - held[0].records.length >= MOST_HELD) number -= held.shift().records.length;
}

// The stream. The browser reconnects by itself, and says what it has had last.

let connection = "connecting";

function connect() {
  const stream = new EventSource("/inspector/stream");
  stream.addEventListener("open", () => say("live"));
  stream.addEventListener("message", ({ data }) => {
    const event = JSON.parse(data);
    if (isPaused) hold(event);
    else rows.take(event);
    say("live");
    if (!isPaused) draw();
  });
  stream.addEventListener("error", () => {
    say("lost");
    // It does not try again after an answer that is no stream.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
}

function say(state) {
  connection = state;
  drawStatus();
}

function drawStatus() {
  const waiting = held.reduce((sum, { records }) => sum + records.length, 0);
  const words = { live: "Live", connecting: "Connecting", lost: "Not connected, trying again" };
  const paused = isPaused && connection === "live";
  const text = paused ? `Paused, ${waiting.toLocaleString("en")} new` : words[connection];
  $("status").dataset.state = paused ? "paused" : connection;
  if ($("status").textContent !== text) $("status").textContent = text;
  $("pause").textContent = isPaused ? `Resume${waiting ? ` (${waiting.toLocaleString("en")} new)` : ""}` : "Pause";
}

// Keys

const MOVES = {
  j: () => list.move(1),
  k: () => list.move(-1),
  ArrowDown: () => list.move(1),
  ArrowUp: () => list.move(-1),
  PageDown: () => list.move(list.pageSize),
  PageUp: () => list.move(-list.pageSize),
  Home: () => list.move(-Infinity),
  End: () => list.move(Infinity),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const isSearching = event.target === $("search");
  if (isSearching ? keyInSearch(event) : keyElsewhere(event)) event.preventDefault();
});

function keyInSearch({ key }) {
  if (key === "Escape") {
    $("search").value = "";
    draw();
  } else if (key !== "Enter" && key !== "ArrowDown") {
    return false;
  }
  $("list").focus({ preventScroll: true });
  return true;
}

function keyElsewhere({ key, target }) {
  if (key === "/") $("search").focus();
  else if (key === "p") pause(!isPaused);
  else if (key === "Escape") close();
  else if (key === "Enter" && target === $("list") && list.active !== null) list.open(list.active);
  else if (key in MOVES && (key.length === 1 || target === $("list") || target === document.body)) {
    move(MOVES[key]);
  } else return false;
  return true;
}

function move(step) {
  step();
  if (!$("details").contains(document.activeElement)) $("list").focus({ preventScroll: true });
  if (opened !== null && list.active !== opened) list.open(list.active);
}

// The rest

$("search").addEventListener("input", draw);
$("pause").addEventListener("click", () => pause(!isPaused));
$("clear").addEventListener("click", async () => {
  try {
    await fetch("/inspector/clear", { method: "POST" });
  } catch {
    return; // the status says that nobody is there
  }
  pause(false);
});
$("setup").textContent = `sentry_sdk.init(
    dsn="http://public@${location.host}/1",
    integrations=[
        SegmentIntegration(
            write_key="any-key",
            host="${location.origin}",
        ),
    ],
)`;
$("copy-setup").addEventListener("click", () => copy($("copy-setup"), $("setup").textContent));
connect();
