import { call, notice } from "./common.js";

document.querySelector("main").addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-do]");
  if (!button) return;
  const row = button.closest("tr"), id = row.dataset.id;
  const name = row.querySelector("th").textContent;
  try {
    if (button.dataset.do === "restore") {
      await call("POST", `/v1/trash/${id}:restore`);
      location.assign(`/searches/${name}`);
    } else if (confirm(`Remove ${name} for ever? This cannot be undone.`)) {
      await call("DELETE", `/v1/trash/${id}`);
      row.remove();
      notice(`${name} was removed.`);
    }
  } catch (problem) {
    notice(problem.detail);
  }
});
