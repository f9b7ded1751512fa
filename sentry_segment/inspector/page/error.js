// A Sentry event as people read it: its exceptions with their frames, and its breadcrumbs.

import { element, visible } from "./dom.js";

export function errorSections(event) {
  return [...exceptions(listOf(event.exception)), ...breadcrumbs(listOf(event.breadcrumbs))];
}

function listOf(found) {
  const values = Array.isArray(found) ? found : found?.values ?? (found?.type ? [found] : []);
  return Array.isArray(values) ? values.filter((value) => value && typeof value === "object") : [];
}

// Sentry has the cause first. People read from what was raised last.
function exceptions(values) {
  return values.toReversed().map((value, index) =>
    element(
      "section",
      { class: "exception" },
      element(
        "h3",
        {},
        index ? element("span", { class: "because" }, "caused by ") : undefined,
        visible(value.type ?? "Exception"),
      ),
      value.value ? element("p", { class: "text" }, visible(value.value)) : undefined,
      frames(listOf({ values: value.stacktrace?.frames ?? [] }).toReversed()),
    ),
  );
}

function frames(found) {
  if (!found.length) return undefined;
  const hasOwn = found.some((frame) => frame.in_app);
  return element("ol", { class: "frames" }, ...found.map((frame, index) => {
    const isOwn = hasOwn ? Boolean(frame.in_app) : index === 0;
    return element("li", { class: isOwn ? "own" : "foreign" }, frameOf(frame, isOwn));
  }));
}

function frameOf(frame, isOpen) {
  const head = [
    element("code", {}, visible(frame.function ?? "?")),
    ` in ${visible(frame.module ?? frame.filename ?? "?")}, line ${visible(frame.lineno ?? "?")}`,
  ];
  const lines = source(frame);
  const names = variables(frame.vars);
  if (!lines && !names) return element("div", { class: "frame" }, ...head);
  return element("details", isOpen ? { open: "" } : {}, element("summary", {}, ...head), lines, names);
}

function source(frame) {
  if (typeof frame.context_line !== "string") return undefined;
  const before = Array.isArray(frame.pre_context) ? frame.pre_context : [];
  const after = Array.isArray(frame.post_context) ? frame.post_context : [];
  const first = Number(frame.lineno) - before.length;
  const line = (text, index) =>
    element(
      "span",
      { class: index === before.length ? "line here" : "line", "data-number": Number.isFinite(first) ? first + index : "" },
      `${visible(text)}\n`,
    );
  return element("pre", { tabindex: "0", "aria-label": "Source" }, ...[...before, frame.context_line, ...after].map(line));
}

function variables(vars) {
  const names = vars && typeof vars === "object" ? Object.entries(vars) : [];
  if (!names.length) return undefined;
  const made = element("dl", {});
  for (const [name, value] of names) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    made.append(element("dt", {}, visible(name)), element("dd", {}, visible(text)));
  }
  return element("details", { class: "vars" }, element("summary", {}, "Variables"), made);
}

function breadcrumbs(found) {
  if (!found.length) return [];
  const items = found.map((crumb) => {
    const data = crumb.data && Object.keys(crumb.data).length ? JSON.stringify(crumb.data) : "";
    const said = [crumb.message, data].filter(Boolean).join(" ");
    return element(
      "li",
      { "data-level": crumb.level },
      element("time", {}, clock(crumb.timestamp)),
      element("span", { class: "category" }, visible(crumb.category ?? crumb.type ?? "")),
      element("span", {}, visible(said)),
    );
  });
  const title = element("summary", {}, element("h3", {}, `Breadcrumbs: ${found.length}, the oldest first`));
  return [element("details", { class: "breadcrumbs", open: "" }, title, element("ol", {}, ...items))];
}

function clock(timestamp) {
  const date = new Date(typeof timestamp === "number" ? timestamp * 1000 : timestamp ?? NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(11, 23);
}
