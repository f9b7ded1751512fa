// Elements, and text of strangers. Nothing here or elsewhere makes elements out of text.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export function svg(name, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Control characters, those that turn the direction of a line around, those that have no width,
// and halves of surrogate pairs. The joiners (U+200C, U+200D) stay: scripts and emoji need them.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// Text with such characters spelled out, so that what is seen is what was sent.
export function visible(text) {
  return String(text).replace(
    HIDDEN,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

export function copyButton(label, text) {
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", () => copy(button, typeof text === "function" ? text() : text));
  return button;
}

export async function copy(button, text) {
  const label = button.textContent;
  const done = (await copied(text)) ? "Copied" : "Not copied";
  button.textContent = done;
  setTimeout(() => {
    if (button.textContent === done) button.textContent = label;
  }, 1500);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // There is no clipboard where the page comes over plain HTTP from another machine.
    const field = element("textarea", { readonly: "", class: "unseen" });
    field.value = text;
    document.body.append(field);
    const before = document.activeElement;
    field.select();
    const worked = document.execCommand("copy");
    field.remove();
    before?.focus();
    return worked;
  }
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// All times of the page are in UTC, as those in the messages are.
export function timeOf(when, isDated = false) {
  const iso = new Date(when).toISOString();
  const isToday = iso.slice(0, 10) === new Date().toISOString().slice(0, 10);
  return isDated && !isToday ? `${iso.slice(0, 10)} ${iso.slice(11, 19)}` : iso.slice(11, 19);
}
