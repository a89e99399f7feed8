"use strict";

// Rendering of an entry of the review queue: a transaction, or a group of them, and its suggestion.

function plural(count, word, words = `${word}s`) {
  return `${count.toLocaleString()} ${count === 1 ? word : words}`;
}

function money(amount, currency) {
  if (amount === null) return "several currencies";
  try {
    return amount.toLocaleString([], { style: "currency", currency });
  } catch {
    return `${amount.toLocaleString([], { minimumFractionDigits: 2 })} ${currency}`.trim();
  }
}

function day(date) {
  return new Date(`${date}T00:00`).toLocaleDateString([], { dateStyle: "medium" });
}

function printed(row) {
  return [row.raw_merchant, row.description].filter(Boolean).join(" · ");
}

function named(entry) {
  return entry.row.merchant || printed(entry.row) || "no merchant";
}

function best(row) {
  const [first] = row.alternatives;
  return first ? `, maybe ${first.label} ${percent(first.confidence)}` : "";
}

function amountOf({ row, group }) {
  return group ? money(group.amount, group.currency) : money(row.amount, row.currency);
}

/** The day of a transaction or the size of a group, and the user where *whose* is given. */
function whenAndWhose({ row, group }, whose) {
  return [group ? plural(group.rows, "row") : day(row.date), whose].filter(Boolean).join(" · ");
}

function samplesOf(group) {
  const samples = group.samples.map((it) => `${day(it.date)}, ${money(it.amount, it.currency)}: ${printed(it)}`);
  return classed("ul", "samples", null, ...samples.map((text) => element("li", text)));
}

/** The visible parts of an entry; with its reasons and samples if it is *open*. */
function summary(entry, open, whose) {
  const { row, group, note, skipped } = entry;
  const line = group ? "" : printed(row);
  const said = classed("p", "said", null, element("strong", row.label || "Not sure"));
  said.append(row.label ? ` ${percent(row.confidence)}` : open ? "" : best(row));
  const parts = [
    classed("div", "line", null, classed("span", "merchant", named(entry)), classed("span", "amount", amountOf(entry))),
    classed("p", "soft", [whenAndWhose(entry, whose), line].filter(Boolean).join(" · ")),
    said,
  ];
  if (note) parts.push(classed("p", "changed", `↻ ${note}`));
  if (skipped) parts.push(classed("p", "soft", "skipped"));
  if (open) parts.push(classed("p", "soft", row.reasons.join("; ")));
  if (open && group) parts.push(samplesOf(group));
  return parts;
}

/** The label of an entry for screen readers. */
function inWords(entry, whose) {
  const { row, note } = entry;
  const said = row.label ? `Suggested: ${row.label}, ${percent(row.confidence)}` : `Not sure${best(row)}`;
  const parts = [named(entry), amountOf(entry), whenAndWhose(entry, whose), said, ...row.reasons, note];
  return parts.filter(Boolean).join(". ");
}

/** A button that shows its key. */
function keyed(text, key, work, className = "") {
  const made = button(`${text} `, (event) => {
    event.stopPropagation();
    work();
  });
  made.className = className;
  made.append(element("kbd", key));
  made.lastChild.setAttribute("aria-hidden", "true");
  made.setAttribute("aria-keyshortcuts", key);
  return made;
}

/** The buttons of an entry, each with its key. */
function tools(entry, { decide, openBox, skip }) {
  const bar = classed("div", "actions");
  if (entry.row.label) bar.append(keyed(`Accept ${entry.row.label}`, "a", () => decide(entry, "accept"), "first"));
  entry.row.alternatives.slice(0, 3).forEach((it, at) => {
    bar.append(keyed(`${it.label} ${percent(it.confidence)}`, `${at + 1}`, () => decide(entry, "correct", it.label)));
  });
  bar.append(keyed("Other …", "c", () => openBox(entry)));
  if (entry.row.label) bar.append(keyed("Reject", "r", () => decide(entry, "reject")));
  bar.append(keyed("Skip", "s", () => skip(entry)));
  return bar;
}

/** The note on what the answer to another entry changed. */
function changeIn({ row }, before, label, why) {
  if (row.label && row.label === label) return `now ${row.label}, ${why}`;
  const reason = why.replace("chose it", `chose ${label}`);
  return `now ${row.label || "not sure"}, was ${before || "not sure"}, ${reason}`;
}

/** A box to search the categories of a datalist in, or to type a new one, which is added to it. */
function categoryForm(title, list, chosen, close) {
  const known = new Map([...list.options].map((it) => [it.value.toLowerCase(), it.value]));
  const about = "Type to search; a name that is not there yet is made.";
  const input = element("input");
  input.id = "category";
  input.maxLength = 80;
  input.autocomplete = "off";
  input.setAttribute("list", list.id);
  input.setAttribute("aria-describedby", "category-hint");
  const label = element("label", title);
  label.htmlFor = input.id;
  const hint = classed("p", "soft", about);
  hint.id = "category-hint";
  hint.setAttribute("aria-live", "polite");
  const buttons = classed("div", "actions", null, element("button", "Choose"), button("Cancel", close));
  const form = classed("form", "narrow", null, label, input, hint, buttons);
  input.addEventListener("input", () => {
    const typed = input.value.trim().toLowerCase();
    const found = [...known.keys()].filter((it) => it.includes(typed)).length;
    if (!typed) hint.textContent = about;
    else hint.textContent = found ? plural(found, "match", "matches") : `“${input.value.trim()}” is new: it will be made.`;
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = input.value.trim();
    if (!typed) return input.focus();
    const found = known.get(typed.toLowerCase());
    if (!found) list.append(new Option(typed, typed));
    chosen(found || typed);
  });
  return form;
}
