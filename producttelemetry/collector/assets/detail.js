// One event, opened: a modal dialog, so Escape closes it and nothing behind it takes the focus.

import { getText } from "./api.js";
import { find, formatTime, make, setText } from "./dom.js";

/** Start it; returns `open(kind, rowid)`. */
export function startDetail({ filterBy }) {
  const dialog = find("detail");
  let opener = null;

  function narrow(label, filter) {
    const button = make("button", { type: "button", class: "small" }, label);
    button.addEventListener("click", () => {
      opener = find("list");
      dialog.close();
      filterBy(filter);
    });
    return button;
  }

  function fact(term, value, ...actions) {
    return make("div", {}, make("dt", {}, term), make("dd", {}, make("span", {}, value), ...actions));
  }

  function show(kind, row) {
    const event = row.event;
    const facts = [fact("Received", `${formatTime(row.received_at)} (${row.received_at})`)];
    if (kind === "rejected") {
      facts.push(fact("Reason", row.message));
      setText(find("detail-title"), "Rejected event");
    } else {
      facts.push(
        fact("Tracked", String(event.timestamp)),
        fact("Type", event.event_type, narrow("only this type", { type: event.event_type })),
        fact("Name", event.event_name, narrow("only this name", { name: event.event_name })),
        fact("Client", event.client_id, narrow("only this client", { client_id: event.client_id })),
      );
      setText(find("detail-title"), event.event_name);
    }
    find("detail-facts").replaceChildren(...facts);
    setText(find("detail-json"), JSON.stringify(event, null, 2));
  }

  async function open(kind, rowid) {
    opener = document.activeElement;
    try {
      show(kind, parse(await getText(`/${kind}/${rowid}`)));
    } catch (error) {
      find("detail-facts").replaceChildren();
      setText(find("detail-title"), "This event cannot be shown");
      setText(find("detail-json"), error.message);
    }
    setText(find("detail-copy"), "Copy");
    // The title is what gets the focus: it comes first, and is there to be read.
    if (!dialog.open) dialog.showModal();
  }

  find("detail-close").addEventListener("click", () => dialog.close());
  find("detail-copy").addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(find("detail-json").textContent).then(() => true, () => false);
    setText(find("detail-copy"), copied ? "Copied" : "Not allowed");
  });
  dialog.addEventListener("click", (event) => {
    // The dialog itself is hit only outside its content.
    if (event.target === dialog) dialog.close();
  });
  // The row may have left the list meanwhile.
  dialog.addEventListener("close", () => (opener?.isConnected ? opener : find("list")).focus());

  return open;
}

/** Parse JSON; numbers that JavaScript cannot hold, 2**63 say, are shown as they were sent, where the browser can. */
function parse(text) {
  if (typeof JSON.rawJSON !== "function") return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && String(value) !== context.source ? JSON.rawJSON(context.source) : value);
}
