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

/** What the person says of the file; what he leaves to us is not in it. */
function said() {
  const found = {};
  const user = bring.elements.user_id.value.trim();
  if (user) found.user_id = user;
  for (const it of document.querySelectorAll("[data-said]")) {
    if (it.value.trim()) found[it.name] = it.value.trim();
  }
  const columns = {};
  for (const it of document.querySelectorAll("[data-column]")) {
    if (it.dataset.changed) columns[it.name] = it.value;
  }
  if (Object.keys(columns).length) found.columns = columns;
  return found;
}

function form() {
  const data = new FormData();
  data.append("file", bring.elements.file.files[0]);
  data.append("options", JSON.stringify(said()));
  return data;
}

function offerColumns(header, columns) {
  for (const select of document.querySelectorAll("[data-column]")) {
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
let seenSo = false; // what would be sent now is what the person has seen
let busy = false;

function offerImport() {
  const button = byId("import");
  if (button) button.disabled = !seenSo || busy;
}

async function look() {
  const mine = (looks += 1);
  say("");
  seenSo = false;
  offerImport();
  if (!bring.elements.file.files.length) return;
  try {
    const seen = await call("POST", bring.dataset.look, form());
    if (mine !== looks) return; // an answer to an earlier question came late
    show(seen);
    seenSo = true;
    offerImport();
  } catch (error) {
    if (mine !== looks) return;
    byId("summary").textContent = error.message;
    for (const id of ["rows", "detected", "rejects"]) byId(id).replaceChildren();
    byId("refused").hidden = true;
    byId("found").hidden = false;
    // The columns can still be named by hand.
    offerColumns(error.facts?.header || [], {});
    for (const it of document.querySelectorAll("#found details")) it.open = it.contains(byId("columns"));
    say(error.message);
  }
}

function show(seen) {
  offerColumns(seen.header, seen.columns);
  const rows = `${seen.whole ? "" : "the first "}${seen.looked_at.toLocaleString()} rows`;
  byId("summary").textContent =
    `${seen.name}: ${rows}, ` + (seen.rejected ? `${seen.rejected.toLocaleString()} of them cannot be taken.` : "all can be taken.");
  byId("rows").replaceChildren(rowsAsRead(seen.rows));
  byId("detected").replaceChildren(...seen.detected.map((fact) => element("li", fact)));
  byId("refused").hidden = !seen.rejected;
  byId("rejects").replaceChildren(
    table(["Line", "Why"], seen.rejects.map((row) => [row.line, row.error])),
  );
  byId("found").hidden = false;
}

async function take() {
  if (!seenSo || busy) return;
  busy = true;
  offerImport();
  try {
    const asked = await call("POST", bring.dataset.bring, form());
    byId("progress").hidden = false;
    byId("result").replaceChildren();
    byId("become").focus();
    ended(await followed(asked), asked.import_id, await listKept());
  } finally {
    busy = false;
    offerImport();
  }
}

/** Show how far a job is until it has ended. That one question fails ends nothing. */
async function followed(asked) {
  const bar = document.querySelector("#progress progress");
  const cancel = byId("cancel");
  bar.max = 100;
  bar.hidden = false;
  cancel.hidden = false;
  cancel.onclick = async () => {
    if (await confirmed("End this import?")) attempt(() => call("DELETE", asked.status_url));
  };
  try {
    for (let trouble = false; ; ) {
      try {
        const job = await call("GET", asked.status_url);
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
  const made = element("a", text);
  made.href = href;
  return made;
}

/** A file of an import: its `categorized` copy, or its `rejects`. */
function fileLink(text, importId, kind) {
  return link(text, `${bring.dataset.bring}/${importId}/${kind}.csv`);
}

/** What became of it. It may have been stored, whatever came after that. */
function ended(job, importId, kept) {
  byId("phase").textContent = job.state;
  const imported = kept.find((it) => it.import_id === importId)?.imported;
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
  const list = element("dl", null, ...facts.map(([name, count]) =>
    element("div", null, element("dt", name), element("dd", count.toLocaleString()))));
  list.className = "facts";
  if (!it.rejected) return [list];
  return [
    list,
    element("h3", `Not taken: ${it.rejected.toLocaleString()}`),
    table(["Line", "Why"], it.rejects.map((row) => [row.line, row.reason])),
    element("p", null, fileLink("All of them, as a file", it.import_id, "rejects")),
  ];
}

async function listKept() {
  const place = byId("kept-files");
  const { imports } = await call("GET", place.dataset.url);
  if (!imports.length) {
    place.replaceChildren(element("p", "None yet."));
    return imports;
  }
  const made = table(["File", "Whose", "Brought", "With its categories"], []);
  for (const it of imports) {
    const time = element("time");
    time.dateTime = it.created_at;
    const copy = it.imported ? fileLink("Download", it.import_id, "categorized") : "not imported";
    const cells = [it.name, it.user_id || "", time, copy];
    made.tBodies[0].append(element("tr", null, ...cells.map((cell) => element("td", null, cell))));
  }
  localTimes(made);
  place.replaceChildren(made);
  return imports;
}

for (const it of document.querySelectorAll("[data-column]")) {
  it.addEventListener("change", () => {
    it.dataset.changed = "yes";
  });
}
bring.elements.file.addEventListener("change", async () => {
  for (const it of document.querySelectorAll("[data-column]")) delete it.dataset.changed;
  for (const it of document.querySelectorAll("[data-said]")) it.value = "";
  await look();
  byId("read").focus();
});
byId("found").addEventListener("change", look);
bring.addEventListener("submit", (event) => {
  event.preventDefault();
  look(); // Enter in a field stores nothing
});
byId("import")?.addEventListener("click", () => attempt(take));
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
attempt(listKept);
