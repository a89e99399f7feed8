"use strict";

const bring = document.getElementById("bring");
const drop = document.getElementById("drop");
const byId = (id) => document.getElementById(id);
const MONEY = new Intl.NumberFormat([], { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const KINDS = {
  labelled: "Labelled already",
  sure: "Suggested",
  "to review": "To review",
  unknown: "Unknown",
};

const all = (selector) => [...document.querySelectorAll(selector)];

/** How to read the file, as far as the user has chosen; the rest is inferred. */
function options() {
  const chosen = {};
  for (const { name, value } of [bring.elements.user_id, ...all("[data-said]")]) {
    if (value.trim()) chosen[name] = value.trim();
  }
  const columns = all("[data-column]").filter((it) => it.dataset.changed);
  if (columns.length) chosen.columns = Object.fromEntries(columns.map((it) => [it.name, it.value]));
  return chosen;
}

function form() {
  const data = new FormData();
  data.append("file", bring.elements.file.files[0]);
  data.append("options", JSON.stringify(options()));
  return data;
}

function offerColumns(header, columns) {
  for (const select of all("[data-column]")) {
    const chosen = select.dataset.changed ? select.value : columns[select.name] || "";
    const none = element("option", "none");
    none.value = "";
    select.replaceChildren(none, ...header.filter(Boolean).map((name) => element("option", name)));
    select.value = chosen;
  }
}

function money(values) {
  const amount = Number(values.amount);
  return `${amount < 0 ? "out" : "in"} ${MONEY.format(Math.abs(amount))} ${values.currency || ""}`.trim();
}

function rowsAsRead(rows) {
  const known = rows.filter((row) => row.error === null);
  const other = [...new Set(known.flatMap((row) => Object.keys(row.values)))].filter(
    (name) => !["date", "amount", "currency", "external_id"].includes(name) && known.some((row) => row.values[name]),
  );
  return table(
    ["Line", "Date", "Money", ...other.map((name) => (name === "label" ? "Category" : name[0].toUpperCase() + name.slice(1)))],
    known.map((row) => [row.line, row.values.date, money(row.values), ...other.map((name) => row.values[name] || "")]),
  );
}

let looks = 0;
let previewed = false; // what would be sent now is what the preview shows
let busy = false;

function offerImport() {
  const button = byId("import");
  if (button) button.disabled = !previewed || busy;
}

async function look() {
  const mine = (looks += 1);
  say("");
  previewed = false;
  offerImport();
  if (!bring.elements.file.files.length) return;
  try {
    const preview = await call("POST", bring.dataset.look, form());
    if (mine !== looks) return; // a newer request was sent meanwhile
    show(preview);
    previewed = true;
    offerImport();
  } catch (error) {
    if (mine !== looks) return;
    byId("summary").textContent = error.message;
    for (const id of ["rows", "detected", "rejects"]) byId(id).replaceChildren();
    byId("refused").hidden = true;
    byId("found").hidden = false;
    // The columns can still be named by hand.
    offerColumns(error.facts?.header || [], {});
    for (const it of all("#found details")) it.open = it.contains(byId("columns"));
    say(error.message);
  }
}

function show(preview) {
  offerColumns(preview.header, preview.columns);
  const rows = `${preview.whole ? "" : "the first "}${preview.looked_at.toLocaleString()} rows`;
  byId("summary").textContent =
    `${preview.name}: ${rows}, ` + (preview.rejected ? `${preview.rejected.toLocaleString()} of them cannot be taken.` : "all can be taken.");
  byId("rows").replaceChildren(rowsAsRead(preview.rows));
  byId("detected").replaceChildren(...preview.detected.map((fact) => element("li", fact)));
  byId("refused").hidden = !preview.rejected;
  byId("rejects").replaceChildren(
    table(["Line", "Why"], preview.rejects.map((row) => [row.line, row.error])),
  );
  byId("found").hidden = false;
}

async function importFile() {
  if (!previewed || busy) return;
  busy = true;
  offerImport();
  try {
    const accepted = await call("POST", bring.dataset.bring, form());
    byId("progress").hidden = false;
    byId("result").replaceChildren();
    byId("become").focus();
    showResult(await follow(accepted.status_url), accepted.import_id, await listFiles());
  } finally {
    busy = false;
    offerImport();
  }
}

/** Show the progress of a job until it has ended; a failed request is repeated. */
async function follow(url) {
  const bar = document.querySelector("#progress progress");
  const cancel = byId("cancel");
  bar.max = 100;
  bar.hidden = false;
  cancel.hidden = false;
  cancel.onclick = async () => {
    if (await confirmed("End this import?")) attempt(() => call("DELETE", url));
  };
  try {
    for (let trouble = false; ; ) {
      try {
        const job = await call("GET", url);
        if (trouble) say("");
        trouble = false;
        if (["succeeded", "failed", "cancelled"].includes(job.state)) return job;
        if (job.state === "running" && job.progress.total) bar.value = job.progress.percent;
        else bar.removeAttribute("value");
        byId("phase").textContent = job.state === "running" ? job.progress.phase || "begins" : "waits for a worker";
      } catch (error) {
        if (error.facts?.status === 404) throw error;
        trouble = true;
        say(`${error.message}; asking again`);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    bar.hidden = true;
    cancel.hidden = true;
  }
}

function link(text, href) {
  return Object.assign(element("a", text), { href });
}

/** A file of an import: its `categorized` copy, or its `rejects`. */
function fileLink(text, importId, kind) {
  return link(text, `${bring.dataset.bring}/${importId}/${kind}.csv`);
}

/** Show the result of an import. Its rows can be stored though a later step failed. */
function showResult(job, importId, files) {
  byId("phase").textContent = job.state;
  const imported = files.find((it) => it.import_id === importId)?.imported;
  const parts = [];
  if (job.state === "succeeded") parts.push(...figuresOf(job.result));
  else {
    const why = job.error ? job.error.message : "It was cancelled";
    const then = imported ? "its rows are stored, perhaps without suggestions" : "nothing was stored";
    parts.push(element("p", `${why}: ${then}.`));
  }
  if (imported) {
    const user = bring.elements.user_id.value.trim();
    const review = user ? `${bring.dataset.review}?user_id=${encodeURIComponent(user)}` : bring.dataset.review;
    parts.push(
      element("p", null, link("Review the suggestions", review)),
      element("p", null, fileLink("The file with its categories", importId, "categorized")),
    );
  }
  byId("result").replaceChildren(...parts);
}

function figuresOf(it) {
  const facts = [
    ["Rows read", it.read], ["New", it.inserted], ["Changed", it.updated], ["Known already", it.unchanged],
    ...Object.entries(KINDS).map(([kind, name]) => [name, it.kinds[kind]]),
  ];
  const list = classed("dl", "facts", null, ...facts.map(([name, count]) =>
    element("div", null, element("dt", name), element("dd", count.toLocaleString()))));
  if (!it.rejected) return [list];
  return [
    list,
    element("h3", `Not taken: ${it.rejected.toLocaleString()}`),
    table(["Line", "Why"], it.rejects.map((row) => [row.line, row.reason])),
    element("p", null, fileLink("All of them, as a file", it.import_id, "rejects")),
  ];
}

async function listFiles() {
  const section = byId("kept-files");
  const { imports } = await call("GET", section.dataset.url);
  const rows = imports.map((it) => {
    const copy = it.imported ? fileLink("Download", it.import_id, "categorized") : "not imported";
    return [it.name, it.user_id, timeOf(it.created_at), copy];
  });
  const files = table(["File", "Whose", "Brought", "With its categories"], rows);
  section.replaceChildren(rows.length ? files : element("p", "None yet."));
  localTimes(section);
  return imports;
}

for (const it of all("[data-column]")) {
  it.addEventListener("change", () => {
    it.dataset.changed = "yes";
  });
}
bring.elements.file.addEventListener("change", async () => {
  for (const it of all("[data-column]")) delete it.dataset.changed;
  for (const it of all("[data-said]")) it.value = "";
  await look();
  byId("read").focus();
});
byId("found").addEventListener("change", look);
bring.addEventListener("submit", (event) => {
  event.preventDefault();
  look(); // Enter in a field imports nothing
});
byId("import")?.addEventListener("click", () => attempt(importFile));
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      bring.elements.file.files = event.dataTransfer.files;
      bring.elements.file.dispatchEvent(new Event("change"));
    }
  });
}
attempt(listFiles);
