// What has arrived, as rows: one for each event id, with Sentry's event and Segment's messages.

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

  matches(query) {
    if (this.match.query !== query) {
      const words = query.split(/\s+/).filter(Boolean);
      const texts = words.length ? this.records.map(textOf) : [];
      this.match = {
        query,
        found: words.every((word) => texts.some((text) => text.includes(word))),
      };
    }
    return this.match.found;
  }
}

// Made where somebody searches: it is as much memory again.
function textOf(record) {
  record.searched ??= [
    record.text,
    record.path,
    record.id,
    record.side,
    record.status,
    record.write_key,
    ...record.objections,
    ...Object.values(record.summary),
  ]
    .join("\n")
    .toLowerCase();
  return record.searched;
}

export class Rows {
  constructor() {
    this.reset(null);
  }

  reset(store) {
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

  // Those that hold all words of the query, the newest first.
  found(query) {
    const words = query.trim().toLowerCase();
    return this.rows.filter((row) => row.matches(words)).reverse();
  }
}
