// Errors over time, in two series: Sentry's events, and Segment's messages.

import { count, element, svg, timeOf } from "./dom.js";

const STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400]; // seconds
const MOST = 60; // steps in the plot
const FEWEST = 30;
const HEIGHT = 100;
const SERIES = ["sentry", "segment"];

// Counts in steps of equal length, the last of which ends with the last arrival.
export function stepsOf(rows) {
  const errors = rows.flatMap((row) => row.records).filter(isCounted);
  const times = errors.map((record) => (record.seconds ??= Date.parse(record.arrived) / 1000));
  const [first, last] = times.reduce(
    ([low, high], time) => [Math.min(low, time), Math.max(high, time)],
    [Infinity, -Infinity],
  );
  const step = STEPS.find((length) => (last - first) / length < MOST - 1) ?? (last - first) / (MOST - 1);
  const end = (Math.floor(last / step) + 1) * step;
  const number = Math.max(FEWEST, Math.ceil((end - first) / step));
  const start = end - number * step;
  const counts = Object.fromEntries(SERIES.map((side) => [side, new Array(number).fill(0)]));
  errors.forEach((record, index) => {
    counts[record.side][Math.floor((times[index] - start) / step)] += 1;
  });
  return { start, end, step, counts, errors: errors.length };
}

function isCounted(record) {
  return record.summary.is_error && record.status === 200;
}

export function drawPlot(holder, rows) {
  const { start, end, step, counts, errors } = stepsOf(rows);
  holder.hidden = !errors;
  if (!errors) return;
  const most = Math.max(...counts.sentry, ...counts.segment);
  const totals = SERIES.map((side) => counts[side].reduce((sum, each) => sum + each, 0));
  const clock = (seconds) => timeOf(seconds * 1000);
  const said =
    `Errors from ${clock(start)} to ${clock(end)}, in steps of ${duration(step)}: ` +
    `${count(totals[0], "event")} at Sentry, ${count(totals[1], "message")} at Segment, ` +
    `at most ${most} in a step.`;
  holder.replaceChildren(
    element(
      "p",
      { class: "legend" },
      element("span", { class: "key", "data-kind": "sentry" }, `Events at Sentry: ${totals[0].toLocaleString("en")}`),
      element("span", { class: "key", "data-kind": "segment" }, `Messages at Segment: ${totals[1].toLocaleString("en")}`),
      element("span", { class: "most" }, `Tallest bar: ${most} in ${duration(step)}`),
    ),
    bars(counts, most, said),
    element("p", { class: "axis", "aria-hidden": "true" }, element("span", {}, clock(start)), element("span", {}, `${clock(end)} UTC`)),
  );
}

function bars(counts, most, said) {
  const number = counts.sentry.length;
  const made = svg("svg", {
    viewBox: `0 0 ${number} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": said,
  });
  SERIES.forEach((side, place) => {
    counts[side].forEach((value, index) => {
      if (!value) return;
      const height = Math.max(3, (value / most) * HEIGHT);
      const x = index + 0.1 + place * 0.4;
      made.append(
        svg("rect", { class: side, x, y: HEIGHT - height, width: 0.38, height }),
      );
    });
  });
  return made;
}

function duration(seconds) {
  if (seconds >= 86400) return count(Math.round(seconds / 86400), "day");
  if (seconds >= 3600) return count(Math.round(seconds / 3600), "hour");
  if (seconds >= 60) return count(Math.round(seconds / 60), "minute");
  return count(seconds, "second");
}
