import { call, duration, element, figure, notice, spark } from "./common.js";

const body = document.querySelector("#searches tbody");
const state = document.getElementById("state");
const filter = document.getElementById("filter");
let shown = "";

function row(search) {
  const trials = search.budget ? `${search.trials} of ${search.budget}` : String(search.trials);
  return element("tr", { "data-name": search.name },
    element("th", { scope: "row" }, element("a", { href: `/searches/${search.name}` }, search.name)),
    element("td", {}, element("span", { class: `state ${search.state}` }, search.state)),
    element("td", { class: "number" }, trials),
    element("td", { class: "number" }, figure(search.best_reward)),
    element("td", { class: "number" }, figure(search.reference)),
    element("td", {}, spark(search.spark)),
    element("td", {}, search.dataset ?? ""),
    element("td", {}, search.controller),
    element("td", {}, duration(search.seconds_left)));
}

async function refresh() {
  try {
    const query = new URLSearchParams({ limit: 200 });
    if (state.value) query.set("state", state.value);
    if (filter.value.trim()) query.set("text", filter.value.trim().slice(0, 100));
    const found = await call("GET", `/v1/searches?${query}`);
    const text = JSON.stringify(found.searches);
    if (text !== shown) {
      const held = document.activeElement?.closest("tr")?.dataset.name;
      body.replaceChildren(...found.searches.map(row));
      if (held) body.querySelector(`tr[data-name="${held}"] a`)?.focus();
      shown = text;
    }
    document.getElementById("none").hidden = found.total > 0;
    document.getElementById("more").hidden = found.total <= found.searches.length;
    notice();
  } catch (problem) {
    notice(problem.detail);
  }
}

async function forever() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((done) => setTimeout(done, 2000));
  }
}

state.addEventListener("change", refresh);
filter.addEventListener("input", refresh);
forever();
