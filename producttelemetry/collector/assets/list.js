// The list of events: one page of rows, live or not, accepted or rejected.
//
// At most PAGE rows are kept and shown, whatever the server holds. Live, new ones come in at the top and old ones leave
// at the bottom; rows that stay are never rebuilt, so focus and selection stay with them.

import { get } from "./api.js";
import { find, formatTime, make, plural, setText } from "./dom.js";

/** Rows shown; the server's stream sends no more than that at once (`stream.PORTION`). */
const PAGE = 100;

const COLUMNS = {
  events: [["Time", "time"], ["Event", "what"], ["Type", "type"], ["Client", "client"]],
  rejected: [["Time", "time"], ["Reason", "what"], ["What came", "excerpt"]],
};

/** Start it; `open(kind, rowid)` shows one event. */
export function startList(open) {
  const table = find("events");
  const body = table.tBodies[0];
  const names = find("filter-name");
  const types = find("filter-type");
  const clients = find("filter-client");

  let kind = "events";
  let rows = [];
  let more = false;
  let mode = "live"; // or "paused", or "older": neither takes rows in
  let waiting = 0; // rows that came while not live
  let query = 0; // the number of the latest question; answers to others are late
  let asking = false;
  let again = false;

  const filter = () =>
    kind === "events" ? { name: names.value, type: types.value, client_id: clients.value.trim() } : {};
  const isFiltered = () => Object.values(filter()).some((value) => value !== "");

  function matches(row) {
    const { name, type, client_id } = filter();
    return (!name || row.name === name) && (!type || row.type === type) &&
      (!client_id || row.client_id === client_id.toLowerCase());
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  /** Show the newest rows, or the next older ones. */
  async function load({ before = null, announce = false } = {}) {
    const mine = ++query;
    asking = true;
    try {
      const found = await get(`/${kind}`, { ...filter(), brief: 1, order: "newest", limit: PAGE + 1, before });
      if (mine !== query) return;
      more = found[kind].length > PAGE;
      show(found[kind].slice(0, PAGE));
      describe(announce);
    } catch (error) {
      if (mine === query) setText(find("list-status"), `The list could not be read: ${error.message}.`);
    } finally {
      if (mine === query) {
        asking = false;
        if (again) reload();
      }
    }
  }

  function reload({ forget = false, announce = false } = {}) {
    if (forget) {
      // The same number may mean another event now.
      rows = [];
      body.replaceChildren();
      if (mode === "older") mode = "live";
    }
    if (mode === "older" || (mode === "paused" && !forget && !announce)) return;
    again = asking && !announce && !forget;
    if (!again) load({ announce });
  }

  /** Take in what the stream brought. */
  function add(news) {
    const came = (kind === "events" ? news.accepted.filter(matches) : news.rejected);
    if (mode !== "live") {
      waiting += came.length;
      showControls();
    } else if (news.missed || asking) {
      reload();
    } else if (came.length) {
      const newest = rows.length ? rows[0].rowid : 0;
      const merged = [...came.filter((row) => row.rowid > newest).reverse(), ...rows];
      more ||= merged.length > PAGE;
      show(merged.slice(0, PAGE), true);
      describe(false);
    }
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  function show(wanted, isNews = false) {
    const held = body.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
    const kept = new Set(wanted.map((row) => String(row.rowid)));
    for (const line of [...body.rows]) if (!kept.has(line.dataset.rowid)) line.remove();
    let place = body.firstElementChild;
    for (const row of wanted) {
      if (place?.dataset.rowid === String(row.rowid)) place = place.nextElementSibling;
      else body.insertBefore(makeRow(row, isNews), place);
    }
    rows = wanted;
    if (held && !held.isConnected) (body.lastElementChild?.querySelector("button") ?? find("list")).focus();
    keepTabStop();
  }

  function makeRow(row, isNews) {
    const [clock, part] = formatTime(row.received_at).split(".");
    const fraction = part ? [make("span", { class: "part" }, `.${part}`)] : [];
    const time = make("time", { datetime: row.received_at, title: row.received_at }, clock, ...fraction);
    const text = kind === "events" ? row.name : row.message;
    const attributes = { type: "button", tabindex: "-1", "aria-haspopup": "dialog", title: text };
    const cells = kind === "events"
      ? [
        make("td", { class: `type ${row.type}` }, make("span", {}, row.type)),
        make("td", { class: "client", title: row.client_id }, row.client_id.slice(0, 8)),
      ]
      : [make("td", { class: "excerpt", title: row.excerpt }, row.excerpt)];
    return make(
      "tr", { "data-rowid": row.rowid, class: isNews ? "new" : null },
      make("td", { class: "time" }, time), make("td", { class: "what" }, make("button", attributes, text)), ...cells,
    );
  }

  /** Say what is shown; what the stream changes is not worth a word each time. */
  function describe(announce) {
    table.hidden = rows.length === 0;
    find("empty").hidden = rows.length > 0 || kind !== "events" || isFiltered();
    if (announce || !rows.length) setText(find("list-status"), summary());
    else if (mode === "live") setText(find("list-status"), "");
    showControls();
  }

  function summary() {
    if (!rows.length) {
      if (kind === "rejected") return "Nothing was rejected. Events that are not valid appear here, with the reason.";
      return isFiltered() ? "No stored event matches. Names and clients are compared whole." : "No events yet.";
    }
    const noun = kind === "rejected" ? "rejected event" : isFiltered() ? "matching event" : "event";
    if (mode === "older") return `Older events: ${plural(rows.length, noun)}.`;
    return more ? `The newest ${plural(rows.length, noun)}.` : `${plural(rows.length, noun)}.`;
  }

  function showControls() {
    const paused = mode === "paused";
    find("pause").hidden = mode === "older";
    find("pause").setAttribute("aria-pressed", String(paused));
    const missed = waiting ? ` (${plural(waiting, "new event")})` : "";
    setText(find("pause"), paused ? `Resume${missed}` : "Pause");
    find("newest").hidden = mode !== "older";
    find("older").hidden = !more;
    find("filter").hidden = kind !== "events";
    find("filter-clear").hidden = !isFiltered();
  }

  function showHead() {
    const cells = COLUMNS[kind].map(([text, name]) => make("th", { scope: "col", class: name }, text));
    table.tHead.replaceChildren(make("tr", {}, ...cells));
    table.className = kind;
    find("panel").setAttribute("aria-labelledby", `tab-${kind}`);
  }

  // -- what the reader does -------------------------------------------------------------------------------------------

  /** One row is a stop for the tab key; the arrow keys go on from there. */
  function keepTabStop() {
    const stops = body.querySelectorAll('button[tabindex="0"]');
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    const stop = focused ?? stops[0] ?? body.querySelector("button");
    for (const other of stops) if (other !== stop) other.setAttribute("tabindex", "-1");
    stop?.setAttribute("tabindex", "0");
  }

  function goLive() {
    mode = "live";
    waiting = 0;
    showControls();
    load({ announce: true });
  }

  function filterBy({ name, type, client_id }) {
    if (name !== undefined) names.value = name;
    if (type !== undefined) types.value = type;
    if (client_id !== undefined) clients.value = client_id;
    choose("events");
  }

  function choose(chosen) {
    if (chosen !== kind) body.replaceChildren();
    kind = chosen;
    for (const tab of find("tabs").children) {
      tab.setAttribute("aria-selected", String(tab.dataset.kind === kind));
      tab.tabIndex = tab.dataset.kind === kind ? 0 : -1;
    }
    showHead();
    goLive();
  }

  function move(key, from) {
    const line = from.closest("tr");
    const next = {
      ArrowDown: line.nextElementSibling,
      ArrowUp: line.previousElementSibling,
      Home: body.firstElementChild,
      End: body.lastElementChild,
    }[key];
    next?.querySelector("button").focus();
    return next !== undefined;
  }

  body.addEventListener("keydown", (event) => {
    if (move(event.key, event.target)) event.preventDefault();
  });
  body.addEventListener("focusin", keepTabStop);
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line && !getSelection().toString()) {
      line.querySelector("button").focus();
      open(kind, line.dataset.rowid);
    }
  });
  find("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab.dataset.kind);
  });
  find("tabs").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    choose(kind === "events" ? "rejected" : "events");
    find(`tab-${kind}`).focus();
  });
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  find("filter").addEventListener("change", goLive);
  find("filter").addEventListener("reset", () => setTimeout(() => {
    goLive();
    names.focus();
  }));
  find("pause").addEventListener("click", () => {
    if (mode === "paused") return goLive();
    mode = "paused";
    showControls();
  });
  find("older").addEventListener("click", async () => {
    mode = "older";
    await load({ before: rows.at(-1).rowid, announce: true });
    find("list").scrollIntoView();
    (body.querySelector("button") ?? find("newest")).focus({ preventScroll: true });
  });
  find("newest").addEventListener("click", () => {
    goLive();
    find("list").focus();
  });

  find("setting").textContent = `OPS_WRITE_KEY=any OPS_API_URL=${location.origin} python your_program.py`;
  showHead();
  return { add, filterBy, reload };
}
