"use strict";
// Sorts a table by a column: by number where its cells have one, else by text; what has no value comes last.
const told = document.getElementById("told");
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const first = heading.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => {
      const cell = row.cells[column];
      const given = cell.dataset.value;
      return given === undefined ? cell.textContent.trim() : given === "" ? null : Number(given);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, value: value(row) }));
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const by = typeof a.value === "number" ? a.value - b.value : String(a.value).localeCompare(String(b.value), "en", { numeric: true });
      return sign * by || a.place - b.place;
    });
    for (const other of table.tHead.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    body.append(...rows.map((entry) => entry.row));
    told.textContent = `Sorted by ${button.textContent.trim()}, ${order}.`;
  });
}
// Says above a table that some of its columns are hidden.
const hints = [...document.querySelectorAll(".scroll")].map((scroll) => {
  const hint = document.createElement("p");
  hint.className = "hint";
  hint.textContent = "Scroll sideways for more columns →";
  scroll.before(hint);
  return () => { hint.hidden = scroll.scrollWidth <= scroll.clientWidth + 1; };
});
const hint = () => hints.forEach((update) => update());
addEventListener("resize", hint);
document.addEventListener("toggle", hint, true);
hint();
// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.long)").forEach((details) => { details.open = true; }));
