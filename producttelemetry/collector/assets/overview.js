// Counts by name and the chart of arrivals. Both are counted by the server, at most once a second and, should a count
// take long, for no more than a tenth of the time.

import { get } from "./api.js";
import { find, formatNumber, formatTime, make, plural, setText } from "./dom.js";

/** Milliseconds between two counts, at least. */
const PAUSE = 1000;
/** Milliseconds until the chart moves on by itself: time goes on without events, too. */
const TICK = 5000;
/** Names shown. */
const NAMES = 50;
/** The chart's own units, as the page has them. */
const { width: WIDTH, height: HEIGHT } = find("chart").viewBox.baseVal;

/** Start it; `refresh()` says that something has changed. */
export function startOverview({ filterBy }) {
  let busy = false; // from the start of a count to the end of the pause after it
  let dirty = false;

  async function update() {
    const started = performance.now();
    dirty = false;
    try {
      const [seconds, bars] = find("span").value.split(" ");
      showTimeline(await get("/timeline", { seconds, bars }));
      showNames(await get("/names", { limit: NAMES }), filterBy);
    } catch {
      // The connection's own line says that the server does not answer.
    }
    setTimeout(() => {
      busy = false;
      if (dirty) refresh();
    }, Math.max(PAUSE, 10 * (performance.now() - started)));
  }

  function refresh() {
    dirty = true;
    if (busy || document.hidden) return;
    busy = true;
    update();
  }

  setInterval(refresh, TICK);
  document.addEventListener("visibilitychange", refresh);
  find("span").addEventListener("change", refresh);
  return { refresh };
}

function showNames({ names, more }, filterBy) {
  const body = find("names").tBodies[0];
  // By position: the order changes less often than the numbers, and focus stays in its place.
  names.forEach(({ name, count }, index) => {
    const line = body.rows[index] ?? body.appendChild(makeLine(filterBy));
    const button = line.querySelector("button");
    setText(button, name);
    button.title = name;
    setText(line.cells[1], formatNumber(count));
  });
  while (body.rows.length > names.length) body.lastElementChild.remove();
  find("names").hidden = names.length === 0;
  find("names-more").hidden = names.length > 0 && more === 0;
  setText(find("names-more"), names.length ? `and ${plural(more, "more name")}` : "No events yet.");
  find("names-known").replaceChildren(...names.map(({ name }) => make("option", { value: name })));
}

function makeLine(filterBy) {
  const button = make("button", { type: "button" });
  button.addEventListener("click", () => filterBy({ name: button.textContent }));
  return make("tr", {}, make("td", { class: "what" }, button), make("td", { class: "number" }));
}

function showTimeline({ start, seconds, accepted, rejected }) {
  const heights = accepted.map((count, index) => count + rejected[index]);
  const top = Math.max(1, ...heights);
  const from = Date.parse(start);
  const step = WIDTH / heights.length;
  const bars = heights.flatMap((height, index) => {
    if (!height) return [];
    const time = formatTime(from + index * seconds * 1000, false);
    const low = scale(accepted[index], top);
    const high = scale(rejected[index], top);
    const x = index * step;
    return [
      bar("accepted", x, step, 0, low, `${time}: ${formatNumber(accepted[index])} accepted`),
      bar("rejected", x, step, low, high, `${time}: ${formatNumber(rejected[index])} rejected`),
    ];
  });
  find("chart").replaceChildren(...bars);
  const taken = accepted.reduce((sum, count) => sum + count, 0);
  const refused = rejected.reduce((sum, count) => sum + count, 0);
  const total = `${formatNumber(taken)} accepted, ${formatNumber(refused)} rejected`;
  const most = Math.max(...heights);
  const at = formatTime(from + heights.indexOf(most) * seconds * 1000, false);
  const peak = most ? `; most at ${at}, ${plural(most, "event")} in ${plural(seconds, "second")}` : "";
  find("chart").setAttribute("aria-label", `Arrivals since ${formatTime(from, false)}: ${total}${peak}.`);
  setText(find("chart-top"), most ? formatNumber(most) : "");
  setText(find("chart-from"), formatTime(from, false));
  setText(find("chart-total"), total);
}

/** The height of a bar; what is not nothing is seen. */
const scale = (count, top) => (count ? Math.max(2, (count / top) * (HEIGHT - 2)) : 0);

function bar(name, x, step, below, height, text) {
  const rectangle = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = text;
  const place = { class: name, x, y: HEIGHT - below - height, width: Math.max(1, step - 1.5), height };
  for (const [key, value] of Object.entries(place)) rectangle.setAttribute(key, value);
  rectangle.append(title);
  return rectangle;
}
