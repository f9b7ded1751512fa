// The search's words, and the filters.

const WORD = /(\w+):(?:"([^"]*)"|(\S+))|"([^"]*)"|(\S+)/g;
const FIELDS = { user: "user", type: "title", transaction: "transaction", release: "release", environment: "environment" };

// A word of the search is a text that a row must hold; with a field's name before it, that field.
export function wordsOf(query) {
  return [...query.toLowerCase().matchAll(WORD)].map(([whole, name, exact, loose, phrase, word]) => {
    const field = name === undefined ? undefined : FIELDS[name];
    if (field === undefined) return { text: phrase ?? word ?? whole };
    return { field, text: exact ?? loose, isExact: exact !== undefined };
  });
}

export function holds(row, { field, text, isExact }) {
  if (field === undefined) return row.texts.some((each) => each.includes(text));
  return row.records.some(({ summary }) => {
    const value = String(summary[field] ?? "").toLowerCase();
    return isExact ? value === text : value.includes(text);
  });
}

export const FILTERS = {
  "not-mirrored": ["Not mirrored", (row) => row.sentry?.status === 200 && !row.delivered.length],
  objections: ["Objections", (row) => row.objections.length > 0],
  "one-side": ["One side alone", (row) => !row.sentry || !row.messages.length],
  anonymous: ["Anonymous", (row) => row.records.some((record) => record.summary.is_anonymous)],
};
