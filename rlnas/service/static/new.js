import { call } from "./common.js";

const form = document.getElementById("new");
const line = document.getElementById("problem");

function value(input) {
  if (input.type === "checkbox") return input.checked ? true : undefined;
  const text = input.value.trim();
  if (!text) return undefined;
  if (input.tagName === "SELECT" && ["true", "false"].includes(text)) return text === "true";
  if (input.dataset.kind === "list") return text.split(/[\s,x]+/).filter(Boolean);
  return text;
}

function config() {
  const found = {};
  for (const input of form.querySelectorAll("[name]")) {
    const given = value(input);
    if (given === undefined) continue;
    const path = input.name.split(".");
    let place = found;
    for (const part of path.slice(0, -1)) place = place[part] ??= {};
    place[path.at(-1)] = given;
  }
  return found;
}

function clear() {
  line.hidden = true;
  for (const each of form.querySelectorAll(".field .problem")) each.hidden = true;
  for (const each of form.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
}

function show(problem) {
  line.textContent = problem.detail;
  line.hidden = false;
  let first;
  for (const error of problem.errors ?? []) {
    const name = error.pointer.replace(/^body\./, "");
    const field = form.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!field) continue;
    const told = field.querySelector(".problem");
    told.textContent = error.detail;
    told.hidden = false;
    const input = field.querySelector("[name]");
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", `h-${name} p-${name}`);
    const details = field.closest("details");
    if (details) details.open = true;
    first ??= input;
  }
  first?.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  const button = document.getElementById("start");
  button.disabled = true;
  try {
    const search = await call("POST", "/v1/searches", config());
    location.assign(`/searches/${search.name}`);
  } catch (problem) {
    show(problem);
    button.disabled = false;
  }
});
