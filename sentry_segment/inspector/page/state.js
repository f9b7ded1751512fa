// What the page shows, kept in its address: a reload, or a colleague of this machine, sees the same.

export const state = { query: "", only: new Set(), isGrouped: true, open: null };

export function readState() {
  const given = new URLSearchParams(location.search);
  state.query = given.get("q") ?? "";
  state.only = new Set((given.get("only") ?? "").split(",").filter(Boolean));
  state.isGrouped = given.get("group") !== "no";
  state.open = given.get("open");
}

// As a step that "Back" undoes, or in place of the present one.
export function writeState(isStep = false) {
  const told = new URLSearchParams();
  if (state.query) told.set("q", state.query);
  if (state.only.size) told.set("only", [...state.only].join(","));
  if (!state.isGrouped) told.set("group", "no");
  if (state.open !== null) told.set("open", state.open);
  const address = `${location.pathname}${told.size ? "?" : ""}${told}`;
  if (isStep) history.pushState({ isStep }, "", address);
  else history.replaceState(history.state, "", address);
}

export const openInAddress = () => new URLSearchParams(location.search).get("open");
export const isStep = () => history.state?.isStep === true;
