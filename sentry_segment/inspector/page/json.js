// JSON as a tree that can be folded. JSON.parse would round large numbers, ids among them. So the
// text is read here.

import { count, element, visible } from "./dom.js";

const TOKEN = /\s*(["{}[\],:]|[^\s{}[\],:"]+)/y; // of a string, its beginning
const OPEN_UP_TO = 300; // characters: what is longer is folded at first

export function jsonTree(text, open = Infinity) {
  const tokens = tokenized(text);
  const tree = parsed(tokens, { at: 0 });
  return element("div", { class: "json" }, node(undefined, tree, open, true));
}

function tokenized(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match; match = TOKEN.exec(text)) {
    if (match[1] === '"') TOKEN.lastIndex = endOfString(text, TOKEN.lastIndex);
    tokens.push(text.slice(match.index, TOKEN.lastIndex).trimStart());
  }
  return tokens;
}

// An expression for it would run out of stack at ten million characters.
function endOfString(text, start) {
  let at = start;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function parsed(tokens, position) {
  const start = tokens[position.at++];
  if (start !== "{" && start !== "[") return { raw: start, size: start.length };
  const end = start === "{" ? "}" : "]";
  const parts = [];
  let size = 2;
  while (tokens[position.at] !== end) {
    if (tokens[position.at] === ",") position.at++;
    const key = start === "{" ? tokens[position.at] : undefined;
    if (key !== undefined) position.at += 2; // and its colon
    const value = parsed(tokens, position);
    parts.push([key, value]);
    size += value.size + (key?.length ?? 0) + 2;
  }
  position.at++;
  return { start, end, parts, size };
}

function node(key, value, limit, isOpen) {
  const name = key === undefined ? [] : [element("span", { class: "key" }, visible(key)), ": "];
  if (value.raw !== undefined) {
    const shown = element("span", { class: kindOf(value.raw) }, visible(value.raw));
    return element("div", { class: "leaf" }, ...name, shown);
  }
  if (!value.parts.length) {
    return element("div", { class: "leaf" }, ...name, value.start + value.end);
  }
  const unit = value.start === "{" ? "field" : "item";
  const folded = element("span", { class: "folded" }, `… ${value.end} ${count(value.parts.length, unit)}`);
  const summary = element("summary", {}, ...name, value.start, folded);
  const made = element("details", {}, summary);
  const fill = () => {
    if (made.childElementCount > 1) return; // done before
    const parts = element("div", { class: "parts" });
    // One by one: a call with a hundred thousand arguments is too much.
    for (const [name, part] of value.parts) parts.append(node(name, part, limit, part.size <= limit));
    made.append(parts, element("div", {}, value.end));
  };
  made.addEventListener("toggle", fill);
  if (isOpen) {
    fill();
    made.open = true;
  }
  return made;
}

function kindOf(raw) {
  if (raw.startsWith('"')) return "string";
  return /^[-\d]/.test(raw) ? "number" : "word";
}

export { OPEN_UP_TO };
