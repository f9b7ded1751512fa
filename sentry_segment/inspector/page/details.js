// One row in full: what is objected to, and both sides next to each other.

import { asCurl, asTest } from "./copies.js";
import { copyButton, count, element, visible } from "./dom.js";
import { errorSections } from "./error.js";
import { fillFields } from "./fields.js";
import { OPEN_UP_TO, jsonTree } from "./json.js";
import { badges, titleOf } from "./list.js";

const FACTS = ["user", "transaction", "release", "environment", "timestamp"];
const RANKS = [
  ["drops", "Segment drops it", "What of it Segment drops"],
  ["changes", "Segment changes it"],
  ["advice", "Advice"],
];
const MOST_READ = 5_000_000; // characters of an event that are read for its frames

// `repeats` are the rows that look alike, the newest first, and `onOpen` opens another of them.
export function showDetails(holder, row, repeats, onOpen, onClose) {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", onClose);
  holder.replaceChildren(
    element(
      "div",
      { class: "head" },
      element("h2", {}, visible(titleOf(row))),
      element("span", { class: "badges" }, ...badges(row)),
      close,
    ),
    steps(row, repeats, onOpen),
    ...identity(row),
    facts(row),
    ...objections(row),
    ...error(row),
    ...origins(row),
    element("div", { class: "sides" }, segmentSide(row), sentrySide(row)),
  );
}

// Drawn anew as repeats come, and what one reads stays as it is.
export function drawSteps(holder, row, repeats, onOpen) {
  holder.querySelector(".steps").replaceWith(steps(row, repeats, onOpen));
}

function steps(row, repeats, onOpen) {
  const made = element("p", { class: "steps" });
  if (repeats.length < 2) return made;
  const at = repeats.indexOf(row);
  const step = (label, to) => {
    const button = element("button", { type: "button" }, label);
    button.disabled = to === undefined;
    button.addEventListener("click", () => onOpen(to.key));
    return button;
  };
  const all = repeats.length.toLocaleString("en");
  const said = at === 0 ? `The newest of ${all} alike` : `${(at + 1).toLocaleString("en")} of ${all} alike`;
  made.append(step("Newer", repeats[at - 1]), step("Older", repeats[at + 1]), said);
  return made;
}

function identity(row) {
  const id = row.records[0].id;
  const { segment } = row;
  const isReadable = segment && segment.text.startsWith("{");
  const made = element(
    "p",
    { class: "identity" },
    ...(id === null ? [] : ["Event id ", element("code", {}, visible(id)), copyButton("Copy id", id)]),
    isReadable ? copyButton("Copy as curl", () => asCurl(segment)) : undefined,
    isReadable ? copyButton("Copy as test", () => asTest(segment)) : undefined,
  );
  return made.childNodes.length ? [made] : [];
}

function error({ sentry }) {
  if (sentry === undefined || sentry.text.length > MOST_READ) return [];
  const event = JSON.parse(sentry.text);
  return event && typeof event === "object" ? errorSections(event) : [];
}

function origins({ segment, sentry }) {
  if (!segment?.summary.is_error || sentry === undefined) return [];
  const holder = element("section", { class: "origins" });
  fillFields(holder, segment, sentry);
  return [holder];
}

function facts(row) {
  const made = element("dl", {});
  const value = row.sentry?.summary.value;
  const known = FACTS.map((name) => [name, row.about(name)]);
  for (const [name, text] of [["text", value], ...known]) {
    if (text === undefined) continue;
    made.append(element("dt", {}, name), element("dd", {}, visible(text)));
  }
  return made;
}

function objections(row) {
  return RANKS.flatMap(([rank, title, partly]) => {
    const told = new Set(row.objections.filter((each) => each.rank === rank).map(({ text }) => text));
    if (!told.size) return [];
    const items = [...told].map((text) => element("li", {}, visible(text)));
    const isRefused = rank === "drops" && row.refused !== undefined;
    const name = isRefused ? "Refused" : partly && row.delivered.length ? partly : title;
    return [element("section", { class: "objections", "data-rank": rank }, element("h3", {}, name), element("ul", {}, ...items))];
  });
}

function segmentSide(row) {
  const before = row.messages.length - 1;
  const note = before > 0 ? `The last of ${count(row.messages.length, "message")} with this id.` : "";
  return side("Segment message", row.segment, Infinity, note, whyNot(row));
}

function whyNot(row) {
  const reason = row.sentry?.summary.why_not;
  return reason ? `Not mirrored: ${reason}.` : "Nothing has arrived at Segment under this id.";
}

function sentrySide(row) {
  return side("Sentry event", row.sentry, OPEN_UP_TO, "", "Nothing has arrived at Sentry under this id.");
}

function side(name, record, openUpTo, note, without) {
  const made = element("section", { class: "side" }, element("h3", {}, name));
  if (record === undefined) {
    made.append(element("p", { class: "without" }, without));
    return made;
  }
  const meta = [
    record.path,
    `answered ${record.status}`,
    count(record.bytes, "byte"),
    record.write_key && `write key ${record.write_key}`,
    `arrived ${record.arrived}`,
  ];
  made.append(element("p", { class: "meta" }, visible(meta.filter(Boolean).join(" · "))));
  if (note) made.append(element("p", { class: "meta" }, note));
  if (record.text === "null") {
    made.append(element("p", { class: "without" }, "Its body was not kept."));
    return made;
  }
  made.querySelector("h3").append(copyButton("Copy JSON", record.text));
  made.append(jsonTree(record.text, openUpTo));
  return made;
}
