// Asking the server. Every refusal of it is `{"error": "…"}` and becomes an Error with that text.

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the collector does not answer");
  }
  if (!answer.ok) {
    const refusal = await answer.json().catch(() => ({}));
    throw new Error(refusal.error ?? `the collector answered ${answer.status}`);
  }
  return answer;
}

/** The text of an answer; parameters that are empty are left out. */
export async function getText(path, parameters = {}) {
  const asked = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null);
  const query = new URLSearchParams(asked).toString();
  return (await request(query ? `${path}?${query}` : path)).text();
}

/** The JSON of an answer. */
export const get = async (path, parameters) => JSON.parse(await getText(path, parameters));

/** Change something; the body, if there is one, is sent as JSON. */
export async function change(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const json = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  await request(path, { method, ...json });
}
