"use strict";
// Tables are sorted by a click on a head; rows below a heading stay below it. Nothing here is needed to read the page.
function key(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.textContent.trim().toLowerCase();
}
function before(a, b, down) {
  // Words and what is undefined stand behind numbers, whichever way they are sorted.
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  const order = typeof a === "number" ? a - b : a.localeCompare(b);
  return down ? -order : order;
}
function sort(table, column, down) {
  const body = table.tBodies[0];
  const parts = [[]];
  for (const row of [...body.rows]) {
    if (row.classList.contains("group")) parts.push([row]);
    else parts[parts.length - 1].push(row);
  }
  for (const part of parts) {
    const head = part.filter((row) => row.classList.contains("group"));
    const rows = part.filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => before(key(a, column), key(b, column), down));
    body.append(...head, ...rows);
  }
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const now = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", now);
      sort(table, column, now === "descending");
    });
  });
}
for (const figure of document.querySelectorAll("figure.code")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(figure.querySelector("code").textContent).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Not allowed"; },
    );
  });
  figure.append(button);
}
