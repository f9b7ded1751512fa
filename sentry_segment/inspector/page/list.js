// The list of rows. Only those within sight are elements: 10,000 scroll as 10 do.

import { element, timeOf, visible } from "./dom.js";

const BEYOND = 6; // rows above and below those in sight

// It shows items: a row, or several that look alike.
export class List {
  constructor(list, rows, onOpen) {
    this.list = list;
    this.holder = rows;
    this.shown = [];
    this.elements = new Map(); // by the item's key
    this.active = null; // an item's key
    this.onOpen = onOpen;
    list.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(list);
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.open(option.dataset.key);
    });
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.list).getPropertyValue("--row-height"));
  }

  show(shown) {
    const height = this.rowHeight;
    // Who has scrolled down goes on seeing the same rows.
    const anchor = this.list.scrollTop >= height ? this.shown[this.indexAtTop(height)] : undefined;
    const offset = this.list.scrollTop % height;
    this.shown = shown;
    this.indexes = new Map(shown.map((item, index) => [item.key, index]));
    this.items = new Map(shown.flatMap((item) => item.rows.map((row) => [row.key, item])));
    this.holder.style.height = `${shown.length * height}px`;
    const index = anchor && this.indexes.get(anchor.key);
    if (index !== undefined) this.list.scrollTop = index * height + offset;
    this.draw();
  }

  indexAtTop(height) {
    return Math.floor(this.list.scrollTop / height);
  }

  draw() {
    const height = this.rowHeight;
    const first = Math.max(0, this.indexAtTop(height) - BEYOND);
    const last = Math.ceil((this.list.scrollTop + this.list.clientHeight) / height) + BEYOND;
    const wanted = this.shown.slice(first, last);
    const keys = new Set(wanted.map((row) => row.key));
    for (const [key, made] of this.elements) {
      if (!keys.has(key)) {
        made.remove();
        this.elements.delete(key);
      }
    }
    let next = this.holder.firstElementChild;
    wanted.forEach((row, place) => {
      const made = this.place(row, first + place, height);
      // In the order in which they are seen, for those who hear them.
      if (made === next) next = next.nextElementSibling;
      else this.holder.insertBefore(made, next);
    });
    const active = this.elements.get(this.active);
    if (active) this.list.setAttribute("aria-activedescendant", active.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  // An element stays the same as long as its item is in sight, or a click on it might be lost.
  place(item, index, height) {
    const { row } = item;
    let made = this.elements.get(item.key);
    if (made === undefined) {
      made = element("div", { role: "option", id: `row-${row.number}` });
      made.dataset.key = item.key;
      this.elements.set(item.key, made);
    }
    const version = `${row.number}.${row.version}.${item.rows.length}`;
    if (made.dataset.version !== version) {
      made.dataset.version = version;
      made.dataset.error = row.isError;
      made.replaceChildren(...contents(item));
    }
    made.style.transform = `translateY(${index * height}px)`;
    made.setAttribute("aria-selected", item.key === this.active);
    made.setAttribute("aria-posinset", index + 1);
    made.setAttribute("aria-setsize", this.shown.length);
    return made;
  }

  move(step) {
    if (!this.shown.length) return;
    const index = this.indexes.get(this.active);
    const next = index === undefined ? 0 : index + step;
    this.activate(this.shown[Math.min(Math.max(next, 0), this.shown.length - 1)].key);
  }

  activate(key) {
    this.active = key;
    const height = this.rowHeight;
    const top = (this.indexes.get(key) ?? 0) * height;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    const bottom = top + height - this.list.clientHeight;
    if (bottom > this.list.scrollTop) this.list.scrollTop = bottom;
    this.draw();
  }

  get pageSize() {
    return Math.max(1, Math.floor(this.list.clientHeight / this.rowHeight) - 1);
  }

  // By the item's key; what is opened is the newest row in it.
  open(key) {
    this.activate(key);
    this.onOpen(this.shown[this.indexes.get(key)].row.key);
  }

  itemOf(rowKey) {
    return this.items?.get(rowKey);
  }
}

function contents({ row, rows }) {
  const facts = ["user", "transaction"].map((field) => row.about(field)).filter(Boolean);
  if (row.about("user") !== undefined) facts[0] = `user ${facts[0]}`;
  const value = row.sentry?.summary.value;
  return [
    element("span", { class: "title" }, visible(titleOf(row))),
    element("span", { class: "times", title: "repeats" }, rows.length > 1 ? `×${rows.length.toLocaleString("en")}` : ""),
    element("span", { class: "value" }, value === undefined ? "" : visible(value)),
    element("time", { datetime: row.arrived }, timeOf(row.arrived, true)),
    element("span", { class: "facts" }, visible(facts.join(" · "))),
    element("span", { class: "badges" }, ...badges(row)),
  ];
}

export function titleOf(row) {
  const summary = row.segment?.summary ?? row.sentry.summary;
  if (summary.title !== undefined) {
    return row.isError || row.sentry ? summary.title : `${summary.kind}: ${summary.title}`;
  }
  return summary.kind ?? (row.segment ? "A request to Segment" : "A request to Sentry");
}

export function badges(row) {
  const made = [];
  const badge = (kind, text) => made.push(element("span", { class: "badge", "data-kind": kind }, text));
  if (row.refused) badge("refused", `refused ${row.refused.status}`);
  if (row.sentry?.status === 200) badge("sentry", "Sentry");
  const taken = row.delivered.length;
  if (taken) badge("segment", taken === 1 ? "Segment" : `Segment ×${taken}`);
  else if (row.messages.length === 0 && row.sentry?.summary.why_not) badge("not", row.sentry.summary.why_not);
  else if (row.messages.length === 0 && row.sentry?.status === 200) badge("waiting", "not at Segment yet");
  const ranks = new Set(row.objections.map(({ rank }) => rank));
  if (ranks.has("drops") && !row.refused) badge("refused", taken ? "repeat dropped" : "dropped by Segment");
  if (ranks.has("changes")) badge("objections", "changed by Segment");
  if (ranks.has("advice")) badge("advice", "advice");
  return made;
}
