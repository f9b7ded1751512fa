// The page: the stream of what arrives, the list, the details, the keys.

import { copy, count, element } from "./dom.js";
import { drawSteps, showDetails } from "./details.js";
import { List } from "./list.js";
import { drawPlot } from "./plot.js";
import { FILTERS } from "./query.js";
import { Rows, itemsOf } from "./rows.js";
import { isStep, openInAddress, readState, state, writeState } from "./state.js";

const MOST_HELD = 10_000; // records, as many as the server keeps
const $ = (id) => document.getElementById(id);

const rows = new Rows();
const list = new List($("list"), $("rows"), open);
let held = []; // events of the stream that came in a pause
let isPaused = false;
let openedVersion = null;
let unseen = 0; // rows that came while the page was behind others
let isDrawn = true;

// Drawing: once a frame, however much arrives.

function draw() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    const found = rows.found(state.query, state.only);
    const isEmpty = !rows.rows.length;
    $("empty").hidden = !isEmpty;
    $("list").hidden = isEmpty;
    $("nothing").hidden = isEmpty || found.length > 0;
    $("nothing").textContent = state.only.size
      ? "No row holds all of these words and passes these filters."
      : "No row holds all of these words.";
    list.show(itemsOf(found, state.isGrouped));
    drawPlot($("plot"), found);
    drawDetails();
    drawCounts(found);
  });
}

function drawDetails() {
  if (state.open === null) return;
  const row = rows.byKey.get(state.open);
  if (row === undefined) {
    // The page's address may name one that is still to come.
    if (openedVersion !== null) close();
    return;
  }
  const repeats = list.itemOf(row.key)?.rows ?? [row];
  const version = `${row.version} ${row.key}`;
  if (openedVersion === version) return drawSteps($("details"), row, repeats, (key) => openRow(key));
  if (openedVersion === null) reveal();
  openedVersion = version;
  const hadFocus = $("details").contains(document.activeElement);
  showDetails($("details"), row, repeats, (key) => openRow(key), close);
  if (hadFocus) $("details").focus();
}

function reveal() {
  $("details").hidden = false;
  document.body.dataset.details = "open";
}

function drawCounts(found) {
  const others = Object.entries(rows.others).map(([kind, number]) => `${kind} ${number.toLocaleString("en")}`);
  const said = [
    found.length === rows.rows.length
      ? count(found.length, "row")
      : `${found.length.toLocaleString("en")} of ${count(rows.rows.length, "row")}`,
  ];
  const shown = list.shown.length;
  if (shown < found.length) said[0] += `, ${shown.toLocaleString("en")} without repeats`;
  if (others.length) said.push(`other items at Sentry: ${others.join(", ")}`);
  $("counts").textContent = said.join(" · ");
}

// Details

const isNarrow = () => matchMedia("(max-width: 60rem)").matches;

function open(key) {
  openRow(key, state.open === null && isNarrow()); // there, "Back" is how one gets to the list
  if (isNarrow()) $("details").focus();
  list.activate(list.active); // the list has become narrower
}

function openRow(key, isNewStep = false) {
  state.open = key;
  writeState(isNewStep);
  openedVersion = null;
  drawDetails();
  $("details").scrollTop = 0;
}

function close() {
  if (state.open === null) return;
  if (isStep()) history.back();
  hide();
  if (!isStep()) writeState();
}

function hide() {
  const hadFocus = $("details").contains(document.activeElement);
  state.open = openedVersion = null;
  $("details").hidden = true;
  $("details").replaceChildren();
  delete document.body.dataset.details;
  if (hadFocus) $("list").focus({ preventScroll: true });
}

addEventListener("popstate", () => {
  const key = openInAddress();
  if (key === null) hide();
  else openRow(key);
  writeState(); // the search may have changed meanwhile
});

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
    const before = rows.byKey.size;
    if (isPaused) hold(event);
    else rows.take(event);
    if (document.hidden) tell(unseen + Math.max(rows.byKey.size - before, 0));
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

// The tab's title: how many are new.

function tell(number) {
  unseen = number;
  document.title = unseen ? `(${unseen.toLocaleString("en")}) Inspector` : "Inspector";
}

document.addEventListener("visibilitychange", () => tell(0));

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
    search();
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
  if (state.open !== null && list.itemOf(state.open)?.key !== list.active) list.open(list.active);
}

// The rest

function search() {
  state.query = $("search").value.trim().toLowerCase();
  writeState();
  draw();
}

for (const [name, [label]] of Object.entries(FILTERS)) {
  const chip = element("button", { type: "button", class: "chip" }, label);
  chip.addEventListener("click", () => {
    if (!state.only.delete(name)) state.only.add(name);
    drawFilters();
    writeState();
    draw();
  });
  chip.dataset.name = name;
  $("chips").append(chip);
}

function drawFilters() {
  for (const chip of $("chips").children) chip.setAttribute("aria-pressed", state.only.has(chip.dataset.name));
  $("group").setAttribute("aria-pressed", state.isGrouped);
}

$("group").addEventListener("click", () => {
  state.isGrouped = !state.isGrouped;
  drawFilters();
  writeState();
  draw();
});

$("export").addEventListener("click", () => {
  element("a", { href: "/inspector/export", download: "inspector.json" }).click();
});
$("import").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file === undefined) return;
  const answer = await fetch("/inspector/import", { method: "POST", body: file }).catch(() => null);
  const told = (await answer?.json().catch(() => null)) ?? { detail: "the inspector did not answer" };
  $("import").textContent = answer?.ok ? `Imported ${count(told.imported, "record")}` : `Not imported: ${told.detail}`;
  setTimeout(() => ($("import").textContent = "Import"), 5000);
});

$("search").addEventListener("input", search);
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
            write_key="inspector",
            host="${location.origin}",
        ),
    ],
)`;
$("spotlight").textContent = `${location.origin}/stream`;
$("copy-setup").addEventListener("click", () => copy($("copy-setup"), $("setup").textContent));
readState();
$("search").value = state.query;
drawFilters();
connect();
