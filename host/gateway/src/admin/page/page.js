// Shows what the API tells. What came with a mail is only ever set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const KEY = "waypost-token";
const EVERY_MS = 3000;

// A link may bring the token behind #, which no server is sent.
if (location.hash.startsWith("#token=")) {
  sessionStorage.setItem(KEY, location.hash.slice("#token=".length));
  history.replaceState(null, "", location.pathname);
}

class Refused extends Error {}

async function ask(path) {
  const headers = { Authorization: "Bearer " + sessionStorage.getItem(KEY) };
  const answer = await fetch(path, { headers, cache: "no-store" });
  if (answer.status === 401) throw new Refused();
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || answer.statusText);
  return said;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// `columns` are [heading, value of a row, class of a row's cell].
function table(rows, columns, none) {
  if (rows.length === 0) return element("p", none, "none");
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const [heading] of columns) head.append(element("th", heading));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [, value, className] of columns) {
      const told = value(row);
      line.append(element("td", told, className ? className(row) : typeof told === "number" ? "number" : ""));
    }
  }
  return made;
}

const show = (id, ...what) => byId(id).replaceChildren(...what);

function showStatus(status) {
  const store = status.store;
  byId("store").textContent = store.health === "healthy" ? "" :
    `The store is ${store.health}${store.since ? ` since ${store.since}` : ""}: ${store.reason}. New mail is put off.`;
  byId("summary").textContent =
    `${status.domains} domains; last change ${status["changed-at"]}` +
    (status.watching ? "" : "; files are looked at every few seconds only") +
    (status["needs-restart"].length ? `; a restart will take: ${status["needs-restart"].join(", ")}` : "");
  const short = [];
  if (status.disk.low) short.push(`no new mail: the disk has too little free ${status.disk.low}`);
  if (status.memory.pressure !== "none") short.push(`no new mail: too much is in memory, ${status.memory.fresh} bytes`);
  byId("short").textContent = short.join("; ");
  show("faults", table(status["not-in-force"], [
    ["File", (f) => `${f.file}:${f.line}:${f.column}`],
    ["What is wrong", (f) => f.message, () => "bad"],
    ["What to do", (f) => f.hint || ""],
  ], "Everything that the files say is in force."));
}

function showQueue(queue) {
  const states = ["queued", "claimed", "deferred", "held", "quarantined"];
  show("queue", table(states.filter((state) => queue.counts[state] > 0), [
    ["Recipients that are", (state) => state],
    ["", (state) => queue.counts[state]],
  ], "Nothing waits."), table(queue.recipients.slice(0, 100), [
    ["Id", (e) => e.id],
    ["Recipient", (e) => e.recipient],
    ["State", (e) => e.state],
    ["Attempts", (e) => e.attempts],
    ["Due", (e) => e["due-at"] || "when someone says so"],
    ["Why", (e) => e.reason || ""],
  ], ""));
}

function showPlugins(plugins) {
  show("plugins", table(plugins, [
    ["Domain", (p) => p.domain],
    ["Plugin", (p) => p.plugin],
    ["Breaker", (p) => p.breaker, (p) => (p.breaker === "closed" ? "" : "bad")],
    ["Calls", (p) => p.calls],
    ["Failures", (p) => p.failures],
    ["Warm instances", (p) => p.warm],
  ], "No domain has a plugin."));
  const shadows = plugins.flatMap((p) => p.shadow || []);
  show("shadows", table(shadows, [
    ["Domain", (d) => d.domain],
    ["Plugin", (d) => d.plugin],
    ["Hook", (d) => d.hook],
    ["The mail got", (d) => d.did],
    ["It would have got", (d) => d.would],
    ["Times", (d) => d.count],
    ["For instance", (d) => d.samples.slice(0, 3).join(" ")],
  ], "Nothing, or nothing watches."));
}

async function trace(about) {
  const id = /^[0-9A-HJKMNP-TV-Z]{26}$/i.test(about);
  for (const key of id ? ["id"] : ["recipient", "sender"]) {
    const told = await ask(`/api/trace?${key}=${encodeURIComponent(about)}`);
    if (!Array.isArray(told) || told.length > 0) return told;
  }
  return [];
}

async function refresh() {
  try {
    const [status, queue, plugins] = await Promise.all([ask("/api/status"), ask("/api/queue?limit=100"), ask("/api/plugins")]);
    byId("door").hidden = true;
    byId("room").hidden = false;
    showStatus(status);
    showQueue(queue);
    showPlugins(plugins);
  } catch (error) {
    if (!(error instanceof Refused)) {
      byId("summary").textContent = `The gateway does not answer: ${error.message}`;
      return;
    }
    byId("refused").textContent = sessionStorage.getItem(KEY) ? "That is not the token." : "";
    sessionStorage.removeItem(KEY);
    byId("room").hidden = true;
    byId("door").hidden = false;
  }
}

byId("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("token").value.trim());
  refresh();
});

byId("trace").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const told = await trace(byId("about").value.trim());
    show("story", element("pre", JSON.stringify(told, null, 2)));
  } catch (error) {
    show("story", element("p", error.message, "bad"));
  }
});

refresh();
setInterval(() => {
  if (!byId("room").hidden && !document.hidden) refresh();
}, EVERY_MS);
