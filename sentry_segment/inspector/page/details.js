// One row in full: what is objected to, and both sides next to each other.

import { copyButton, count, element, visible } from "./dom.js";
import { OPEN_UP_TO, jsonTree } from "./json.js";
import { badges, titleOf } from "./list.js";

const FACTS = ["user", "transaction", "release", "environment", "timestamp"];

export function showDetails(holder, row, onClose) {
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
    ...identity(row),
    facts(row),
    ...objections(row),
    element("div", { class: "sides" }, segmentSide(row), sentrySide(row)),
  );
}

function identity(row) {
  const id = row.records[0].id;
  if (id === null) return [];
  return [
    element(
      "p",
      { class: "identity" },
      "Event id ",
      element("code", {}, visible(id)),
      " ",
      copyButton("Copy id", id),
    ),
  ];
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
  if (!row.objections.length) return [];
  const items = row.objections.map((text) => element("li", {}, visible(text)));
  return [
    element(
      "section",
      { class: "objections" },
      element("h3", {}, row.refused ? "Why it was refused, and what else is wrong" : "What Segment would object to"),
      element("ul", {}, ...items),
    ),
  ];
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
