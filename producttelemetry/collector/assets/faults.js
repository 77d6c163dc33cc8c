// The switches that make the server fail. One way of failing is in force at a time; a delay goes with each of them.
// What they show is what the server says is in force, whoever has set it.

import { change } from "./api.js";
import { find, formatTime, make, plural, setText } from "./dom.js";

const whole = (input) => Number.parseInt(input.value, 10) || 0;

// `fields` makes the fault of the input's value, `value` gets that value back; `before` and `after` stand around
// the input.
const KINDS = [
  { id: "offline", label: "Offline", before: "connections are closed", fields: () => ({ drop: "before" }) },
  { id: "unavailable", label: "503", before: "service unavailable", fields: () => ({ status: 503 }) },
  {
    id: "busy", label: "429", before: "Retry-After", after: "s",
    fields: (input) => ({ status: 429, retry_after: whole(input) }), value: (fault) => fault.retry_after,
    input: { type: "number", min: 0, max: 86400, value: 30, "aria-label": "Retry-After in seconds" },
  },
  {
    id: "large", label: "413", before: "for over", after: "events",
    fields: (input) => ({ max_events: whole(input) }), value: (fault) => fault.max_events,
    input: { type: "number", min: 0, max: 500, value: 1, "aria-label": "Largest batch that is taken, in events" },
  },
  {
    id: "poison", label: "Poison", before: "422 for", fields: (input) => ({ poison: input.value }),
    value: (fault) => fault.poison,
    input: { type: "text", value: "bad.event", "aria-label": "Name of the event that spoils its batch" },
  },
  { id: "portal", label: "Portal", before: "a login page, with 200", fields: () => ({ portal: true }) },
];
const LATENCY = {
  id: "latency", label: "Latency", before: "answers take", after: "s",
  fields: (input) => ({ latency_seconds: Number(input.value) || 0 }), value: (fault) => fault.latency_seconds,
  input: { type: "number", min: 0, max: 3600, step: "any", value: 2, "aria-label": "Latency in seconds" },
};

/** Start it; `show(fault, lastRequest)` takes what the server says and returns the fault in few words, or "". */
export function startFaults() {
  const remaining = find("fault-remaining");
  const switches = [...KINDS, LATENCY].map((kind) => makeSwitch(kind, put));
  let inForce = new Set();
  find("faults").append(...switches.map((each) => each.line));

  /** Put in force what is switched on, with one switch turned. */
  async function put(turned, isOn) {
    const on = new Set(inForce);
    if (isOn && turned !== LATENCY.id) for (const kind of KINDS) on.delete(kind.id);
    if (isOn) on.add(turned);
    else on.delete(turned);
    const fields = switches.filter((each) => on.has(each.id)).map((each) => each.fields());
    const limit = whole(remaining) > 0 ? { remaining: whole(remaining) } : {};
    await send(fields.length ? Object.assign({}, ...fields, limit) : null);
  }

  async function send(fault) {
    try {
      await (fault === null ? change("DELETE", "/faults") : change("PUT", "/faults", fault));
      setText(find("fault-error"), "");
    } catch (error) {
      setText(find("fault-error"), error.message);
    }
  }

  remaining.addEventListener("change", () => {
    const [first] = inForce;
    if (first) put(first, true);
  });
  find("fault-clear").addEventListener("click", () => send(null));

  function show(fault, lastRequest) {
    const set = significant(fault);
    inForce = recognise(set);
    for (const each of switches) each.show(inForce.has(each.id), set);
    const words = describe(set, inForce, fault?.remaining ?? null);
    setText(find("fault-status"), words ? `In force: ${words}.` : "None in force.");
    find("fault-status").classList.toggle("failing", words !== "");
    find("fault-clear").hidden = words === "";
    setText(find("last-request"), lastRequest ? describeRequest(lastRequest) : "");
    return words && brief(inForce);
  }

  return { show };
}

function makeSwitch(kind, put) {
  const names = { button: `fault-${kind.id}`, hint: `hint-${kind.id}`, input: `value-${kind.id}` };
  const role = { role: "switch", "aria-checked": "false", "aria-describedby": names.hint };
  const button = make("button", { type: "button", id: names.button, ...role }, kind.label);
  const input = kind.input && make("input", { ...kind.input, id: names.input });
  const content = [kind.before, input, kind.after].filter((part) => part !== undefined);
  const hint = make("span", { class: "hint", id: names.hint }, ...content);
  const line = make("li", {}, button, hint);
  const isOn = () => button.getAttribute("aria-checked") === "true";

  button.addEventListener("click", () => put(kind.id, !isOn()));
  input?.addEventListener("change", () => isOn() && put(kind.id, true));
  return {
    id: kind.id,
    line,
    fields: () => kind.fields(input),
    show(on, fault) {
      button.setAttribute("aria-checked", String(on));
      if (on && input && document.activeElement !== input) input.value = kind.value(fault);
    },
  };
}

/** The fields that do something. */
function significant(fault) {
  const isSet = ([name, value]) => name !== "remaining" && value !== null && value !== false;
  const isFelt = ([name, value]) => name !== "latency_seconds" || value > 0;
  return Object.fromEntries(Object.entries(fault ?? {}).filter(isSet).filter(isFelt));
}

/** Which switches a fault stands for; none of the kinds, if it was made of other fields over REST. */
function recognise(fault) {
  const { latency_seconds: latency, ...rest } = fault;
  const found = new Set(latency ? [LATENCY.id] : []);
  for (const kind of KINDS) {
    const fields = kind.fields({ value: String(kind.value?.(rest) ?? "") });
    if (JSON.stringify(sorted(fields)) === JSON.stringify(sorted(rest))) found.add(kind.id);
  }
  return found;
}

const sorted = (fields) => Object.entries(fields).sort(([one], [other]) => (one < other ? -1 : 1));

function describe(fault, inForce, remaining) {
  if (!Object.keys(fault).length) return "";
  const { latency_seconds: latency, ...rest } = fault;
  const kind = KINDS.find((each) => inForce.has(each.id));
  const words = [];
  const parts = [kind?.label, kind?.value && kind.before, kind?.value?.(fault), kind?.after];
  if (kind) words.push(parts.filter((part) => part !== undefined).join(" "));
  else if (Object.keys(rest).length) words.push(`set over REST: ${JSON.stringify(rest)}`);
  if (latency) words.push(`latency ${latency} s`);
  if (remaining !== null) words.push(`for ${plural(remaining, "more request")}`);
  return words.join(", ");
}

/** For a line that has little room. */
function brief(inForce) {
  const labels = [...KINDS, LATENCY].filter((kind) => inForce.has(kind.id)).map((kind) => kind.label.toLowerCase());
  return labels.join(", ") || "set over REST";
}

function describeRequest({ method, path, status, events, at }) {
  const batch = events === null ? "" : ` with ${plural(events, "event")}`;
  const outcome = status === null ? "not answered" : `answered ${status}`;
  return `Last request, ${formatTime(at * 1000, false)}: ${method} ${path}${batch}, ${outcome}.`;
}
