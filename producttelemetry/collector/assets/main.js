// The page of the collector. `connect` follows the server's stream (`stream.py` says what it sends); the other modules
// each keep one part of the page.

import { change } from "./api.js";
import { startDetail } from "./detail.js";
import { find, formatNumber, plural, setText } from "./dom.js";
import { startFaults } from "./faults.js";
import { startList } from "./list.js";
import { startOverview } from "./overview.js";

/** Milliseconds until a stream that the browser has given up is opened anew. */
const RETRY = 2000;

const openDetail = startDetail({ filterBy: (filter) => list.filterBy(filter) });
const list = startList(openDetail);
const overview = startOverview({ filterBy: (filter) => list.filterBy(filter) });
const faults = startFaults();

let counts = {};
let epoch = null;

function showState(state) {
  counts = state.counts;
  for (const element of document.querySelectorAll("[data-total]")) {
    setText(element, formatNumber(counts[element.dataset.total]));
  }
  find("tab-rejected").classList.toggle("some", counts.rejected > 0);
  const failing = faults.show(state.fault, state.last_request);
  showConnection(failing ? "failing" : "live", failing ? `Failing on purpose: ${failing}` : "Live");
}

function showConnection(state, text) {
  find("connection").dataset.state = state;
  setText(find("connection"), text);
}

function connect() {
  const source = new EventSource("/stream");
  // A stream that the browser resumes brings what was missed, a new one does not.
  let isNew = true;

  source.addEventListener("state", (message) => {
    const state = JSON.parse(message.data);
    const rowsVanished = state.epoch !== epoch;
    epoch = state.epoch;
    showState(state);
    if (isNew || rowsVanished) list.reload({ forget: rowsVanished });
    if (isNew || rowsVanished) overview.refresh();
    isNew = false;
  });
  source.addEventListener("news", (message) => {
    list.add(JSON.parse(message.data));
    overview.refresh();
  });
  source.addEventListener("error", () => {
    showConnection("lost", "Not connected, trying again…");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY);
  });
}

function startReset() {
  const dialog = find("confirm");
  find("reset").addEventListener("click", () => {
    const events = `${plural(counts.stored ?? 0, "stored event")}, ${plural(counts.rejected ?? 0, "rejected one")}`;
    const text = `${events}, the counters and the fault in force will be gone. What the SDK still holds will come.`;
    setText(find("confirm-text"), text);
    setText(find("confirm-error"), "");
    dialog.showModal();
  });
  find("confirm-cancel").addEventListener("click", () => dialog.close());
  find("confirm-reset").addEventListener("click", async () => {
    try {
      await change("POST", "/reset");
      dialog.close();
    } catch (error) {
      setText(find("confirm-error"), error.message);
    }
  });
}

if (matchMedia("(max-width: 60rem)").matches) {
  for (const tool of document.querySelectorAll("aside details")) tool.open = false;
}
startReset();
connect();
