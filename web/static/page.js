"use strict";

const csrf = document.querySelector('meta[name="csrf"]').content;
const statusLine = document.getElementById("status");
const FOLLOW_MS = 1500;

/** Call the API and return its JSON; throws an Error with a message for people. */
async function call(method, url, body) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  const answer = await fetch(url, { method, headers, body });
  if (answer.status === 401) location.assign("/sign-in");
  const text = await answer.text();
  const json = text ? JSON.parse(text) : {};
  if (!answer.ok) {
    const errors = (json.errors || []).map((it) => `${it.field}: ${it.message}`);
    const detail = json.detail || json.title || answer.statusText;
    const more = errors.filter((it) => !it.endsWith(detail));
    throw Object.assign(new Error([detail, ...more].join("; ")), { facts: json });
  }
  return json;
}

/** An element; text from a bank is never parsed as HTML. */
function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function classed(name, className, text, ...children) {
  return Object.assign(element(name, text, ...children), { className });
}

function button(text, work) {
  const made = Object.assign(element("button", text), { type: "button" });
  made.addEventListener("click", work);
  return made;
}

function timeOf(iso) {
  return Object.assign(element("time"), { dateTime: iso });
}

function say(text) {
  statusLine.textContent = text;
}

/** Ask a yes-or-no question. */
function confirmed(question) {
  const buttons = ["Yes", "No"].map((it) => Object.assign(element("button", it), { value: it.toLowerCase() }));
  const form = element("form", null, element("p", question), classed("p", "actions", null, ...buttons));
  form.method = "dialog";
  const dialog = element("dialog", null, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

function localTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  }
}

function jobRow(job, list) {
  const row = element("tr");
  const kind = element("th", job.kind);
  kind.scope = "row";
  const progress = element("td");
  if (job.state === "running") {
    const bar = element("progress");
    bar.max = 100;
    if (job.progress.total) bar.value = job.progress.percent;
    bar.setAttribute("aria-label", `${job.kind}: ${job.progress.phase || "begins"}`);
    progress.append(bar, ` ${job.progress.phase || ""}`);
  } else if (job.error) {
    progress.textContent = job.error.message;
  } else if (job.result) {
    const { deploy_reason: verdict, reason, read, inserted } = job.result;
    progress.textContent = verdict || reason || (read === undefined ? "" : `${inserted} of ${read} rows are new`);
  }
  const action = element("td");
  if ("mayCancel" in list.dataset && ["queued", "running"].includes(job.state)) {
    action.append(button("Cancel", async () => {
      if (!(await confirmed(`End this job (${job.kind})?`))) return;
      await attempt(() => call("DELETE", `/ml/v2/jobs/${job.job_id}`));
      followJobs(list);
    }));
  }
  row.append(kind, element("td", job.state), progress, element("td", null, timeOf(job.created_at)), action);
  localTimes(row);
  return row;
}

let following = 0;

/** Show the newest jobs, and poll while one of them is queued or running. */
async function followJobs(list) {
  clearTimeout(following);
  const { jobs } = await call("GET", list.dataset.jobs);
  const had = list.dataset.active === "yes";
  const active = jobs.some((job) => ["queued", "running"].includes(job.state));
  const busy = list.contains(document.activeElement);
  if (jobs.length && !busy) {
    list.tBodies[0].replaceChildren(...jobs.map((job) => jobRow(job, list)));
  }
  list.dataset.active = active ? "yes" : "";
  if (active) following = setTimeout(() => followJobs(list), FOLLOW_MS);
  else if (had) location.reload();
}

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message);
    return null;
  }
}

function card(title, ...children) {
  return element("section", null, element("h2", title), ...children);
}

/** A table whose cells are texts or elements. */
function table(head, rows) {
  const titles = head.map((title) => Object.assign(element("th", title), { scope: "col" }));
  const body = rows.map((cells) => element("tr", null, ...cells.map((it) => element("td", null, it ?? ""))));
  return element("table", null, element("thead", null, element("tr", null, ...titles)), element("tbody", null, ...body));
}

const percent = (share) => `${Math.round(100 * share)}%`;

/** What became of a layer's candidate. */
function outcome(layer, shown) {
  if (!layer.heard) return "not heard: this user gets the rules";
  if (layer.rejected) return "rejected by you";
  if (layer.needed >= 1 && layer.confidence < 1) return "only an alternative here";
  if (layer.confidence < layer.needed) return `${percent(layer.needed)} needed`;
  return layer.layer === shown.layer && layer.label === shown.label ? "shown" : "comes after it";
}

function layersOf(shown) {
  if (!shown.layers.length) return element("p", "No layer has anything to say.");
  const rows = shown.layers.map((it) => [it.layer, it.label, percent(it.confidence), outcome(it, shown), it.reason]);
  return table(["Layer", "Says", "Sure", "Outcome", "Because"], rows);
}

function candidateOf(it, open) {
  const moved = it.features.map((c) => [c.name, c.value === null ? "" : String(Math.round(1000 * c.value) / 1000), c.contribution.toFixed(2)]);
  const words = it.words.map((c) => [`"${c.text}"`, "", c.contribution.toFixed(2)]);
  const why = element("details", null, element("summary", `${it.label} (${percent(it.share)})`), table(["What moved its score", "Value", "By"], [...moved, ...words]));
  why.open = open;
  return why;
}

async function explainOne(form) {
  const transaction = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));
  if (transaction.amount !== undefined) transaction.amount = Number(transaction.amount.replace(",", "."));
  const [shown, model] = await Promise.all([
    call("POST", form.dataset.suggest, transaction),
    call("POST", form.dataset.explain, transaction),
  ]);
  const answer = shown.label ? `${shown.label} (${percent(shown.confidence)}), by ${shown.layer}` : "It asks";
  const others = shown.alternatives.map((it) => element("li", `${it.label} (${percent(it.confidence)})`));
  const features = Object.entries(shown.features).filter(([, value]) => value !== "" && value !== null);
  const parts = [
    card("What a person is shown", element("p", answer), element("p", shown.reasons.join("; ")), element("ul", null, ...others)),
    card("What each layer says", layersOf(shown)),
    card("Features", table(["Name", "Value"], features.map(([name, value]) => [name, String(value)]))),
  ];
  if (model.available) {
    const kind = model.kind ? `Kind of shop: ${model.kind.kind} (${model.kind.source}: ${model.kind.evidence}). ` : "";
    const says = model.label ? `${model.label} (${percent(model.confidence)})` : "nothing: no category that it may name to this user";
    const own = `${kind}The model alone says ${says}, version ${model.model.run_id}.`;
    parts.push(card("What the model weighed", element("p", own), ...model.candidates.map((it, at) => candidateOf(it, at === 0))));
  } else {
    parts.push(card("The model", element("p", "No version is live yet.")));
  }
  document.getElementById("answer").replaceChildren(...parts);
}

localTimes();
document.querySelector("[data-sign-out]")?.addEventListener("click", async () => {
  await attempt(() => call("POST", "/sign-out"));
  location.assign("/sign-in");
});
for (const button of document.querySelectorAll("[data-post]")) {
  button.addEventListener("click", async () => {
    if (!(await confirmed(button.dataset.ask))) return;
    const answer = await attempt(() => call("POST", button.dataset.post));
    if (!answer) return;
    const list = document.getElementById("job-list");
    if (answer.job_id && list) await attempt(() => followJobs(list));
    else location.reload();
  });
}
for (const form of document.querySelectorAll("[data-put]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!(await confirmed(form.dataset.ask))) return;
    const { share, why } = Object.fromEntries(new FormData(form));
    if (await attempt(() => call("PUT", form.dataset.put, { share: `${share}%`, why }))) location.reload();
  });
}
/** Fetch the counts, which take long; the server has escaped all text from banks. */
async function showFigures(place) {
  const answer = await fetch(place.dataset.url);
  if (!answer.ok) return place.replaceChildren(element("p", "The figures cannot be counted just now."));
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  place.replaceChildren(...made.body.children);
}

const figures = document.getElementById("figures");
if (figures) attempt(() => showFigures(figures));
const jobs = document.getElementById("job-list");
if (jobs) attempt(() => followJobs(jobs));
document.getElementById("try")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  await attempt(() => explainOne(event.target));
});
