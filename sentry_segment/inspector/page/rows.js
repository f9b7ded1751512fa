// What has arrived, as rows: one for each event id, with Sentry's event and Segment's messages.

import { FILTERS, holds, wordsOf } from "./query.js";

const STATUS_OK = 200;

export class Row {
  constructor(key, number) {
    this.key = key;
    this.number = number;
    this.records = [];
    this.version = 0;
    this.match = { query: null, found: false };
  }

  change() {
    this.version += 1;
    this.match.query = null;
    this.sentry = this.records.findLast((record) => record.side === "sentry");
    this.messages = this.records.filter((record) => record.side === "segment");
    this.segment = this.messages.at(-1);
    this.objections = this.records.flatMap((record) => record.objections);
    // Those that Segment keeps, whatever it answers.
    this.delivered = this.messages.filter(
      (record) => record.status === STATUS_OK && !record.objections.some(({ rank }) => rank === "drops"),
    );
    const seen = ["title", "value", "user", "transaction", "release", "environment", "why_not", "kind"];
    this.alike = JSON.stringify([
      ...seen.map((field) => this.about(field)),
      this.sentry?.status,
      this.messages.map((record) => record.status),
      this.objections.map(({ text }) => text),
    ]);
  }

  get arrived() {
    return this.records[0].arrived;
  }

  get isError() {
    return this.records.some((record) => record.summary.is_error);
  }

  // A field of the summary, from whichever side has it.
  about(field) {
    return this.segment?.summary[field] ?? this.sentry?.summary[field];
  }

  get refused() {
    return this.records.findLast((record) => record.status !== STATUS_OK);
  }

  get texts() {
    return this.records.map(textOf);
  }

  matches(query, words) {
    if (this.match.query !== query) {
      this.match = { query, found: words.every((word) => holds(this, word)) };
    }
    return this.match.found;
  }
}

// Made while the page has nothing else to do, or where somebody searches before that.
function textOf(record) {
  record.searched ??= [
    record.text,
    record.path,
    record.id,
    record.side,
    record.status,
    record.write_key,
    ...record.objections.map(({ text }) => text),
    ...Object.values(record.summary),
  ]
    .join("\n")
    .toLowerCase();
  return record.searched;
}

const unprepared = [];
let isPreparing = false;

function prepare(deadline) {
  while (unprepared.length && deadline.timeRemaining() > 1) textOf(unprepared.pop());
  isPreparing = unprepared.length > 0;
  if (isPreparing) requestIdleCallback(prepare);
}

function prepareSoon(records) {
  if (!self.requestIdleCallback) return; // Safari: whoever searches first waits a moment
  unprepared.push(...records);
  if (!isPreparing) requestIdleCallback(prepare);
  isPreparing = true;
}

export class Rows {
  constructor() {
    this.reset(null);
  }

  reset(store) {
    unprepared.length = 0;
    this.store = store;
    this.rows = []; // in the order of arrival
    this.byKey = new Map();
    this.records = [];
    this.others = {};
  }

  // Takes one event of the stream. The server says what it has dropped.
  take({ store, oldest, others, records }) {
    if (store !== this.store) this.reset(store);
    this.others = others;
    const changed = new Set();
    for (const record of records) {
      const key = record.id ?? `#${record.number}`;
      let row = this.byKey.get(key);
      if (row === undefined) {
        row = new Row(key, record.number);
        this.byKey.set(key, row);
        this.rows.push(row);
      }
      row.records.push(record);
      this.records.push(record);
      changed.add(row);
    }
    this.drop(oldest, changed);
    for (const row of changed) row.change();
    prepareSoon(records);
  }

  drop(oldest, changed) {
    const kept = this.records.findIndex((record) => record.number >= oldest);
    const dropped = this.records.splice(0, kept < 0 ? this.records.length : kept);
    if (!dropped.length) return;
    for (const record of dropped) {
      const key = record.id ?? `#${record.number}`;
      const row = this.byKey.get(key);
      row.records.shift(); // the row's records are in the same order
      changed.add(row);
      if (!row.records.length) {
        this.byKey.delete(key);
        changed.delete(row);
      }
    }
    this.rows = this.rows.filter((row) => row.records.length);
  }

  // Those that hold all words of the query and pass all filters, the newest first.
  found(query, only) {
    const words = wordsOf(query);
    const filters = [...only].filter((name) => name in FILTERS).map((name) => FILTERS[name][1]);
    return this.rows
      .filter((row) => row.matches(query, words) && filters.every((passes) => passes(row)))
      .reverse();
  }
}

// Rows as the list shows them: those that look alike are one item, with the newest in sight.
export function itemsOf(rows, isGrouped) {
  if (!isGrouped) return rows.map((row) => ({ key: row.key, row, rows: [row] }));
  const items = new Map();
  for (const row of rows) {
    const item = items.get(row.alike);
    if (item === undefined) items.set(row.alike, { key: row.alike, row, rows: [row] });
    else item.rows.push(row);
  }
  return [...items.values()];
}
