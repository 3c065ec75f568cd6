import { call, duration, element, figure, frame, notice, shape } from "./common.js";

const page = document.getElementById("search");
const name = page.dataset.name;
const base = `/v1/searches/${name}`;
const at = (id) => document.getElementById(id);
const AT_WORK = ["queued", "starting", "searching", "retraining", "finishing", "pausing", "stopping"];
const ROWS = 25;

let reference = null, ended = 0, hasBest = false;
const table = { order: "number", descending: true, offset: 0, total: 0 };

// --- what the whole search is ---

function showState(search) {
  page.dataset.state = search.state;
  at("state").textContent = search.state;
  at("state").className = `state ${search.state}`;
  at("message").textContent = search.message ?? "";
  at("message").hidden = !search.message;
  at("trials").textContent = search.budget ? `${search.trials} of ${search.budget}` : search.trials;
  at("best").textContent = figure(search.best_reward);
  at("reference").textContent = figure(search.reference);
  at("test").textContent = figure(search.test_accuracy);
  at("failed").textContent = search.failed;
  at("seconds").textContent = duration(search.seconds);
  at("left").textContent = duration(search.seconds_left);
  at("layers").textContent = search.best_layers ?? "No trial has ended well yet.";
  reference = search.reference;
  ended = search.trials;
  hasBest = search.best_trial !== null;
  const running = AT_WORK.includes(search.state);
  const may = {
    pause: running && !["pausing", "stopping"].includes(search.state),
    stop: (running && search.state !== "stopping") || search.state === "paused",
    resume: ["done", "paused", "stopped", "failed", "interrupted", "pausing", "stopping"].includes(search.state) && !search.python,
    delete: !running,
  };
  for (const button of document.querySelectorAll("[data-do]")) button.disabled = !may[button.dataset.do];
}

async function steer(what) {
  if (what === "delete" && !confirm(`Move ${name} to the trash? It can be restored there.`)) return;
  try {
    if (what === "delete") {
      await call("DELETE", base);
      location.assign("/");
      return;
    }
    let body;
    if (what === "resume" && page.dataset.state === "done") {
      const trials = prompt("It has ended. How many trials is it to have in all?", String(ended * 2));
      if (!trials) return;
      body = { trials: Number(trials) || trials };
    }
    showState(await call("POST", `${base}:${what}`, body));
    notice();
    watch();
  } catch (problem) {
    notice(problem.detail);
  }
}

// --- drawings ---

function drawCurve({ points, control }) {
  const box = at("curve");
  if (!points.length) {
    box.replaceChildren(element("p", { class: "hint" }, "No trial has ended yet."));
    return;
  }
  const paid = points.filter((each) => each.reward !== null);
  const beside = control.filter((each) => each.best !== null);
  const ys = [...paid.map((each) => each.reward), ...beside.map((each) => each.best)];
  if (reference !== null) ys.push(reference);
  if (!ys.length) ys.push(0);
  const xs = [0, ...points.map((each) => each.step), ...beside.map((each) => each.step)];
  const last = points.at(-1);
  const label = `Reward of ${last.step} trials; the best so far is ${figure(last.best)}`;
  const { drawn, atX, atY, left, right } = frame(box, label, xs, ys, { x: "trials", y: "reward" });
  const floor = Math.min(...ys);
  for (const each of points) {
    const failed = each.reward === null;
    drawn.append(shape("circle", { class: failed ? "failed" : "dot", cx: atX(each.step), cy: atY(failed ? floor : each.reward), r: 3.2 }));
  }
  if (beside.length) {
    drawn.append(shape("polyline", { class: "beside", points: stairs(beside, atX, atY) }));
  } else if (reference !== null) {
    drawn.append(shape("line", { class: "beside", x1: left, x2: right, y1: atY(reference), y2: atY(reference) }));
  }
  const best = points.filter((each) => each.best !== null);
  drawn.append(shape("polyline", { class: "best", points: stairs(best, atX, atY) }));
  box.replaceChildren(drawn);
}

function stairs(points, atX, atY) {
  const places = [];
  let before = null;
  for (const each of points) {
    if (before !== null) places.push(`${atX(each.step)},${atY(before)}`);
    places.push(`${atX(each.step)},${atY(each.best)}`);
    before = each.best;
  }
  return places.join(" ");
}

async function drawPareto() {
  const box = at("pareto"), cost = at("p-cost");
  try {
    const found = await call("GET", `${base}/pareto?cost=${cost.value}`);
    const xs = found.points.map((each) => each.cost), ys = found.points.map((each) => each.value);
    const log = Math.min(...xs) > 0;
    const unit = cost.selectedOptions[0].textContent;
    const label = `${found.metric} against ${unit}; ${found.points.filter((each) => each.front).length} trials are on the front`;
    const { drawn, atX, atY } = frame(box, label, xs, ys, { x: unit, y: found.metric, log });
    for (const each of [...found.points].sort((one, other) => one.front - other.front)) {
      const dot = shape("circle", { class: each.front ? "dot front" : "dot", cx: atX(each.cost), cy: atY(each.value), r: each.front ? 6 : 3.5 });
      dot.append(shape("title", {}, `trial ${each.trial}: ${figure(each.value)}`));
      if (each.front) {
        dot.setAttribute("tabindex", "0");
        dot.setAttribute("role", "button");
        dot.setAttribute("aria-label", `Trial ${each.trial}, ${figure(each.value)}`);
        dot.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          openTrial(each.trial);
        });
      }
      dot.addEventListener("click", () => openTrial(each.trial));
      drawn.append(dot);
    }
    box.replaceChildren(drawn);
  } catch (problem) {
    box.replaceChildren(element("p", { class: "hint" }, problem.detail));
  }
}

async function drawPolicy() {
  const box = at("policy");
  let found;
  try {
    found = await call("GET", `${base}/policy`);
  } catch {
    found = { decisions: {} };
  }
  const names = Object.keys(found.decisions);
  if (!names.length) {
    box.replaceChildren(element("p", { class: "hint" }, "Nothing is known of it yet."));
    return;
  }
  const heat = element("div", { class: "heat" });
  for (const decision of names) {
    const shares = found.decisions[decision], choices = found.choices[decision] ?? [];
    const told = shares.map((share, index) => `${choices[index] ?? index} ${Math.round(share * 100)} %`).join(", ");
    const drawn = element("div", { class: "cells", role: "img", "aria-label": `${decision}: ${told}` });
    shares.forEach((share, index) => {
      const name = String(choices[index] ?? index), colour = element("i");
      colour.style.opacity = share.toFixed(3);
      drawn.append(element("div", { title: `${name}: ${(share * 100).toFixed(1)} %` }, colour, element("span", {}, name)));
    });
    heat.append(element("span", {}, decision), drawn);
  }
  box.replaceChildren(heat);
}

// --- trials ---

function trialRow(trial) {
  const metrics = trial.metrics ?? {};
  const state = trial.state === "running" && !AT_WORK.includes(page.dataset.state) ? "unfinished" : trial.state;
  const button = element("button", { class: "plain", "aria-haspopup": "dialog" }, String(trial.trial));
  button.addEventListener("click", () => openTrial(trial.trial));
  return element("tr", {},
    element("th", { scope: "row" }, button),
    element("td", { class: "number" }, figure(trial.reward)),
    element("td", {}, element("span", { class: `state ${state}` }, state)),
    element("td", { class: "number" }, metrics.params ? metrics.params.toLocaleString("en") : "-"),
    element("td", { class: "number" }, metrics.seconds ? metrics.seconds.toFixed(1) : "-"),
    element("td", {}, element("div", { class: trial.reason ? "brief problem" : "brief" }, trial.reason || trial.layers)));
}

async function showTrials() {
  const query = new URLSearchParams({ order: table.order, descending: table.descending, limit: ROWS, offset: table.offset });
  if (at("t-state").value) query.set("state", at("t-state").value);
  try {
    const found = await call("GET", `${base}/trials?${query}`);
    const rows = document.querySelector("#t-table tbody");
    const held = rows.contains(document.activeElement) ? document.activeElement.textContent : null;
    rows.replaceChildren(...found.trials.map(trialRow));
    if (held) [...rows.querySelectorAll("button")].find((each) => each.textContent === held)?.focus();
    table.total = found.total;
    const end = Math.min(table.offset + ROWS, found.total);
    at("t-page").textContent = found.total ? `${table.offset + 1} to ${end} of ${found.total}` : "none";
    at("t-before").disabled = table.offset === 0;
    at("t-after").disabled = end >= found.total;
  } catch (problem) {
    notice(problem.detail);
  }
}

function sortBy(button) {
  const order = button.dataset.order;
  table.descending = table.order === order ? !table.descending : true;
  table.order = order;
  table.offset = 0;
  for (const head of document.querySelectorAll("#t-table th[scope=col]")) head.removeAttribute("aria-sort");
  button.closest("th").setAttribute("aria-sort", table.descending ? "descending" : "ascending");
  showTrials();
}

async function openTrial(number) {
  let trial;
  try {
    trial = await call("GET", `${base}/trials/${number}`);
  } catch (problem) {
    notice(problem.detail);
    return;
  }
  at("d-title").textContent = `Trial ${number}`;
  const metrics = trial.metrics ?? {};
  const facts = {
    State: trial.state, Reward: figure(trial.reward), "Why it failed": trial.reason, Layers: trial.layers,
    Parameters: metrics.params?.toLocaleString("en"), FLOPs: metrics.flops?.toLocaleString("en"),
    "Validation accuracy": metrics.val_accuracy?.map((value) => value.toFixed(4)).join(", "),
    Seconds: metrics.seconds?.toFixed(1), Seed: trial.seed, Tokens: trial.tokens.join(" "),
  };
  const lines = Object.entries(facts).filter(([, value]) => value !== undefined && value !== null);
  at("d-facts").replaceChildren(...lines.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, String(value))]));
  at("d-diagram").replaceChildren(element("img", { src: `${base}/trials/${number}/diagram.svg`, alt: `Diagram of the architecture: ${trial.layers}` }));
  const log = at("d-log");
  log.open = trial.state === "failed";
  log.querySelector("pre").textContent = (await call("GET", `${base}/trials/${number}/log`).catch(() => "")) || "nothing";
  at("trial").showModal();
}

async function showFiles() {
  try {
    const found = await call("GET", `${base}/best`);
    const links = found.files.map((file) => element("li", {}, element("a", { href: `${base}/files/${file}`, download: true }, file)));
    at("files").replaceChildren(...links);
  } catch {
    at("files").replaceChildren();
  }
}

async function showLeases() {
  const box = at("leases");
  if (!box || !["searching", "stopped", "paused", "done"].includes(page.dataset.state)) return;
  const found = await call("GET", `${base}/leases`).catch(() => null);
  if (!found) return;
  const who = new Set(found.workers.map((each) => each.worker));
  box.textContent = `${found.leased} trials are with ${who.size} workers, ${found.queued} wait, ${found.told} were told.`;
}

async function showLog() {
  if (at("log").open) at("log").querySelector("pre").textContent = (await call("GET", `${base}/log`).catch(() => "")) || "nothing yet";
}

// --- live ---

let dirty = true;
async function refresh() {
  if (!dirty || document.hidden) return;
  dirty = false;
  const curve = () => call("GET", `${base}/curve`).then(drawCurve).catch(() => {});
  const ofTrials = ended ? [curve(), drawPolicy(), drawPareto()] : [];
  const ofBest = hasBest ? [showFiles()] : [];
  await Promise.all([...ofTrials, ...ofBest, showTrials(), showLeases(), showLog()]);
}

let source = null;
function watch() {
  source?.close();
  if (document.hidden) return; // a browser has few connections for all its tabs
  source = new EventSource(`${base}/events?after=${ended}`);
  source.addEventListener("state", (event) => {
    showState(JSON.parse(event.data));
    dirty = true;
    notice();
    if (["done", "failed", "stopped", "damaged"].includes(page.dataset.state)) source.close();
  });
  source.addEventListener("trial", () => { dirty = true; });
  source.addEventListener("deleted", () => { source.close(); notice("This search was deleted."); });
  source.addEventListener("error", () => { if (source.readyState !== EventSource.CLOSED) notice("The server does not answer; it is tried again."); });
}

document.querySelector("main").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.do) steer(button.dataset.do);
  if (button?.dataset.order) sortBy(button);
});
at("t-before").addEventListener("click", () => { table.offset = Math.max(0, table.offset - ROWS); showTrials(); });
at("t-after").addEventListener("click", () => { table.offset += ROWS; showTrials(); });
at("t-state").addEventListener("change", () => { table.offset = 0; showTrials(); });
at("p-cost").addEventListener("change", drawPareto);
at("log").addEventListener("toggle", showLog);
addEventListener("resize", () => { dirty = true; }); // a phone that is turned: drawings fit their box

async function begin() {
  await call("GET", base).then(showState).catch((problem) => notice(problem.detail));
  dirty = true;
  refresh();
  watch();
}

document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : begin()));
begin();
setInterval(refresh, 1000);
