"""The page's only script: tables are sorted by a click on a head, and folded parts open for links into them.

The page works without it; its content security policy admits this text, by its hash, and no other script.
"""

from __future__ import annotations

import base64
import hashlib

SCRIPT = """
"use strict";
const numberIn = text => {
  const found = text.replace(/,(?=\\d{3})/g, "").replace("\\u2212", "-").match(/-?\\d+(\\.\\d+)?(e-?\\d+)?/i);
  return found ? Number(found[0]) : NaN;
};
function compare(first, second, figures) {
  if (!figures) return first.localeCompare(second, "en", {numeric: true});
  const [a, b] = [numberIn(first), numberIn(second)];
  return isNaN(a) - isNaN(b) || a - b || 0;  // cells without a number come last
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 3) continue;
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "sort by this column";
    head.append(button);
    button.addEventListener("click", () => {
      const next = {none: "ascending", ascending: "descending", descending: "none"}[head.ariaSort || "none"];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (next !== "none") head.setAttribute("aria-sort", next);
      const figures = column > 0 && !head.classList.contains("left"), sign = next === "descending" ? -1 : 1;
      const text = row => row.cells[column].textContent;
      const sorted = [...rows];
      if (next !== "none") sorted.sort((a, b) => sign * compare(text(a), text(b), figures));
      body.append(...sorted);
    });
  });
}
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  const folded = target && target.querySelector(":scope > details.part");
  if (folded) folded.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();
"""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
)
"""The content security policy of the page."""
