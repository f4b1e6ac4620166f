// The keyboard of the desk, and what htmx says. Rows are marked data-row, buttons data-key="c", a note's field
// data-key="n", the link that Enter follows data-open (else a row's first link), the search field data-key="/".
"use strict";

(() => {
  const said = () => document.getElementById("said");
  const rows = () => [...document.querySelectorAll("[data-row]")].filter((row) => row.getClientRects().length);
  let at = null; // the selected row; its id too, since htmx replaces rows
  let atId = "";
  let place = -1;
  let began = 0; // when `g` was typed

  const say = (text, fault) => {
    const line = document.createElement("p");
    line.className = fault ? "notice said fault" : "notice said";
    line.textContent = text;
    said().replaceChildren(line);
  };

  const select = (row, focus = true) => {
    for (const other of document.querySelectorAll("[data-row].at")) if (other !== row) other.classList.remove("at");
    for (const other of document.querySelectorAll('[data-row][tabindex="0"]')) other.tabIndex = -1;
    at = row;
    if (!row) return;
    atId = row.id;
    place = rows().indexOf(row);
    row.classList.add("at");
    row.tabIndex = 0;
    if (focus) {
      row.focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    }
  };

  const selected = () => {
    if (at && at.isConnected) return at;
    return (atId && document.getElementById(atId)) || null;
  };

  const move = (by) => {
    const all = rows();
    if (!all.length) {
      // On a page of one record, to the one beside it in the list.
      const beside = document.querySelector(`main a[rel="${by > 0 ? "next" : "prev"}"]`);
      if (beside) beside.click();
      return;
    }
    const here = all.indexOf(selected());
    // Where the selected row is gone, the one that took its place is next.
    const next = here >= 0 ? here + by : place >= 0 ? place + Math.min(by, 0) : 0;
    select(all[Math.max(0, Math.min(all.length - 1, next))]);
  };

  // Within the selected row; on a page of one record, in the page.
  const find = (key) => {
    const row = selected();
    const where = row || (rows().length ? null : document.getElementById("main"));
    return where && where.querySelector(`[data-key="${key}"]:not(:disabled)`);
  };

  const open = (row) => {
    const link = row.matches("a[href]") ? row : row.querySelector("a[data-open]") || row.querySelector("a[href]");
    if (link) link.click();
  };

  const help = () => {
    const dialog = document.getElementById("help");
    if (!dialog) return;
    if (dialog.open) dialog.close();
    else dialog.showModal();
  };

  const focus = (field) => {
    if (!field) return false;
    const folded = field.closest("details:not([open])");
    if (folded) folded.open = true;
    field.focus();
    return true;
  };

  const typing = (target) =>
    target instanceof Element && target.closest("input, select, textarea, [contenteditable]") !== null;

  const press = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target)) {
      const note = event.key === "Enter" && event.target.matches('input[data-key="n"]');
      if (note || event.key === "Escape") (event.target.closest("[data-row]") || document.getElementById("main")).focus();
      if (note) {
        // As a form's field it would press the form's first button, and confirm.
        event.preventDefault();
        if (event.target.value) say("The note is kept with the verdict: c confirmed, f false alarm, u unsure.");
      }
      return;
    }
    if (event.key === "?") { event.preventDefault(); help(); return; }
    if (document.querySelector("dialog[open]")) return;
    const chord = event.timeStamp - began < 1500;
    began = 0;
    if (chord && event.key === "q") { event.preventDefault(); location.assign("/queue"); return; }
    switch (event.key) {
      case "j": move(1); break;
      case "k": move(-1); break;
      case "g": began = event.timeStamp; break;
      case "Enter":
        // On a link or a button it does what it always does.
        if (!at || event.target !== at) return;
        open(at);
        break;
      case "/":
        if (!focus(document.querySelector('[data-key="/"], input[type="search"]'))) return;
        break;
      case "n":
        if (!focus(find("n"))) return;
        break;
      case "c": case "f": case "u": case "z": {
        const button = find(event.key);
        if (!button || event.repeat) return;
        button.click();
        break;
      }
      default: return;
    }
    event.preventDefault();
  };

  document.addEventListener("keydown", press);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help();
  });
  // Filters apply as soon as one is chosen; without scripts there is the button.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form && event.target.matches("select")) form.requestSubmit();
  });
  // Empty fields would make every address long.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-auto]")) return;
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-row]");
    if (row && row !== at) select(row, false);
  });

  // An answer that is not the desk's own (a proxy's page, for example) must not land in the middle of a list.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status < 400 || xhr.getResponseHeader("HX-Retarget")) return;
    event.detail.shouldSwap = false;
    say(`The desk answered ${xhr.status}. Nothing is known to have changed; load the page again.`, true);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => {
      say("The desk does not answer. Nothing is known to have changed; see that it runs, then try again.", true);
    });
  }
  // htmx replaces rows: the selection stays where it was, and the keyboard with it.
  document.addEventListener("htmx:afterSettle", () => {
    if (at && !at.isConnected) {
      const lost = document.activeElement === document.body || document.activeElement === null;
      const row = document.getElementById(atId);
      if (row && row.matches("[data-row]")) select(row, lost);
      else at = null;
    }
  });
})();
