// The switches that make the server fail. One way of failing is in force at a time; a delay goes with each of them.
// What they show is what the server says is in force, whoever has set it.

import { change } from "./api.js";
import { find, formatTime, make, plural, setText } from "./dom.js";

const whole = (input) => Number.parseInt(input.value, 10) || 0;

// `fields` makes the fault of the input's value, `value` gets that value back.
const KINDS = [
  { id: "offline", label: "Offline", hint: "connections are closed unanswered", fields: () => ({ drop: "before" }) },
  { id: "unavailable", label: "503", hint: "service unavailable", fields: () => ({ status: 503 }) },
  {
    id: "busy", label: "429", hint: "too many requests", fields: (input) => ({ status: 429, retry_after: whole(input) }),
    value: (fault) => fault.retry_after,
    input: { type: "number", min: 0, max: 86400, value: 30, label: "Retry-After, seconds", unit: "Retry-After, s" },
  },
  {
    id: "large", label: "413", hint: "batch too large", fields: (input) => ({ max_events: whole(input) }),
    value: (fault) => fault.max_events,
    input: { type: "number", min: 0, max: 500, value: 1, label: "Largest batch taken, events", unit: "events at most" },
  },
  {
    id: "poison", label: "Poison", hint: "422 for a batch with this event", fields: (input) => ({ poison: input.value }),
    value: (fault) => fault.poison,
    input: { type: "text", value: "bad.event", label: "Name of the poisonous event", unit: "name" },
  },
  { id: "portal", label: "Portal", hint: "a captive portal’s page, with 200", fields: () => ({ portal: true }) },
];
const LATENCY = {
  id: "latency", label: "Latency", hint: "answers come late", fields: (input) => ({ latency_seconds: Number(input.value) || 0 }),
  value: (fault) => fault.latency_seconds,
  input: { type: "number", min: 0, max: 3600, step: "any", value: 2, label: "Latency, seconds", unit: "seconds" },
};

/** Start it; `show(fault, lastRequest)` takes what the server says and returns the fault in words, or "". */
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
    await send(fields.length ? Object.assign({}, ...fields, whole(remaining) > 0 ? { remaining: whole(remaining) } : {}) : null);
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
    setText(find("fault-status"), words ? `In force: ${words}.` : "Nothing in force: the server answers truly.");
    find("fault-status").classList.toggle("failing", words !== "");
    find("fault-clear").hidden = words === "";
    setText(find("last-request"), lastRequest ? describeRequest(lastRequest) : "");
    return words;
  }

  return { show };
}

function makeSwitch(kind, put) {
  const button = make("button", { type: "button", role: "switch", "aria-checked": "false", id: `fault-${kind.id}`, "aria-describedby": `hint-${kind.id}` }, kind.label);
  const hint = make("span", { class: "hint", id: `hint-${kind.id}` }, kind.hint);
  const { unit, label, ...attributes } = kind.input ?? {};
  const input = kind.input && make("input", { ...attributes, "aria-label": label, id: `value-${kind.id}` });
  const line = make("li", {}, button, hint, ...(input ? [make("span", { class: "value" }, input, make("span", { "aria-hidden": "true" }, unit))] : []));
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
  const entries = Object.entries(fault ?? {}).filter(([name, value]) => name !== "remaining" && value !== null && value !== false);
  return Object.fromEntries(entries.filter(([name, value]) => name !== "latency_seconds" || value > 0));
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
  if (kind) words.push(kind.value ? `${kind.label} (${kind.input.unit}: ${kind.value(fault)})` : kind.label);
  else if (Object.keys(rest).length) words.push(`set over REST: ${JSON.stringify(rest)}`);
  if (latency) words.push(`latency ${latency} s`);
  if (remaining !== null) words.push(`for ${plural(remaining, "more request")}`);
  return words.join(", ");
}

function describeRequest({ method, path, status, events, at }) {
  const batch = events === null ? "" : ` with ${plural(events, "event")}`;
  return `Last request, ${formatTime(at * 1000, false)}: ${method} ${path}${batch}, ${status === null ? "not answered" : `answered ${status}`}.`;
}
