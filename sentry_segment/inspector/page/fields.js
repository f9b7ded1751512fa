// Beside each field of a message, the field of the event that it came from.

import { element, visible } from "./dom.js";

const NOTES = {
  filtered: "filtered: Sentry's servers would, too",
  cut: "cut: the message was over 32 KB",
  normalised: "normalised, as Sentry's servers do",
  "filled in": "filled in: the event has none",
  edited: "edited: by before_track, say",
};

export async function fillFields(holder, message, event) {
  const answer = await fetch(`/inspector/fields?message=${message.number}&event=${event.number}`).catch(() => null);
  const { fields = [] } = answer?.ok ? await answer.json() : {};
  if (!fields.length) return holder.remove();
  const head = element("tr", {}, ...["Field", "Value", "From"].map((name) => element("th", { scope: "col" }, name)));
  holder.append(
    element("h3", {}, "Where each field comes from"),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...fields.map(fieldRow))),
  );
}

function fieldRow({ name, value, origin, was, note }) {
  const came = element("td", {}, visible(origin));
  if (note) {
    came.append(element("span", { class: "note", "data-note": note }, NOTES[note] ?? note));
    if (was !== null && was !== "") came.append(element("code", { class: "was" }, visible(`was ${short(was)}`)));
  }
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, visible(name)),
    element("td", {}, element("code", {}, visible(short(value)))),
    came,
  );
}

function short(value) {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 297)}…` : text;
}
