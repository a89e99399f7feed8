"use strict";

const csrf = document.querySelector('meta[name="csrf"]').content;
const told = document.getElementById("told");
const FOLLOW_MS = 1500;

/** The answer of the API as JSON; throws an Error whose message is for a person. */
async function call(method, url, body) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  if (answer.status === 401) location.assign("/sign-in");
  const text = await answer.text();
  const json = text ? JSON.parse(text) : {};
  if (!answer.ok) {
    const errors = (json.errors || []).map((it) => `${it.field}: ${it.message}`);
    throw new Error([json.detail || json.title || answer.statusText, ...errors].join("; "));
  }
  return json;
}

/** Text always stays text: nothing that came from a bank is ever read as HTML. */
function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function say(text) {
  told.textContent = text;
}

/** Whether the person means it. */
function confirmed(question) {
  const dialog = element("dialog");
  const form = element("form", null, element("p", question));
  form.method = "dialog";
  const buttons = element("p");
  buttons.className = "actions";
  for (const [value, label] of [["yes", "Yes"], ["no", "No"]]) {
    const button = element("button", label);
    button.value = value;
    buttons.append(button);
  }
  form.append(buttons);
  dialog.append(form);
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
    progress.textContent = job.result.deploy_reason || job.result.reason || "";
  }
  const time = element("time");
  time.dateTime = job.created_at;
  const asked = element("td", null, time);
  const action = element("td");
  if ("mayCancel" in list.dataset && ["queued", "running"].includes(job.state)) {
    const cancel = element("button", "Cancel");
    cancel.type = "button";
    cancel.addEventListener("click", async () => {
      if (!(await confirmed(`End this job (${job.kind})?`))) return;
      await attempt(() => call("DELETE", `/ml/v2/jobs/${job.job_id}`));
      followJobs(list);
    });
    action.append(cancel);
  }
  row.append(kind, element("td", job.state), progress, asked, action);
  localTimes(row);
  return row;
}

let following = 0;

/** Show the newest jobs, again and again while one of them is at work. */
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

function scored(items) {
  const list = element("ul");
  for (const it of items) list.append(element("li", `${it.label} (${Math.round(100 * it.confidence)}%)`));
  return list;
}

function card(title, ...children) {
  return element("section", null, element("h2", title), ...children);
}

function table(head, rows) {
  const made = element("table");
  const titles = element("tr");
  for (const title of head) {
    const cell = element("th", title);
    cell.scope = "col";
    titles.append(cell);
  }
  const body = element("tbody");
  for (const cells of rows) body.append(element("tr", null, ...cells.map((it) => element("td", it))));
  made.append(element("thead", null, titles), body);
  return made;
}

async function lookAtOne(form) {
  const asked = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));
  if (asked.amount !== undefined) asked.amount = Number(asked.amount.replace(",", "."));
  const answer = document.getElementById("answer");
  const shown = await call("POST", form.dataset.suggest, { transactions: [asked] });
  const item = shown.items[0];
  if (item.error) {
    const errors = item.error.errors.map((it) => `${it.field}: ${it.message}`);
    throw new Error([item.error.detail, ...errors].join("; "));
  }
  const parts = [
    card(
      "What a person is shown",
      element("p", item.label ? `${item.label} (${Math.round(100 * item.confidence)}%), by ${item.layer}` : "It asks"),
      element("p", item.reasons.join("; ")),
      scored(item.alternatives),
    ),
  ];
  const explained = await call("POST", form.dataset.explain, asked);
  if (explained.available) {
    const known = [["Merchant, cleaned", explained.merchant]];
    if (explained.kind) {
      known.push(["Kind of shop", `${explained.kind.kind} (${explained.kind.source}: ${explained.kind.evidence})`]);
    }
    known.push(["The model alone", `${explained.label} (${Math.round(100 * explained.confidence)}%)`]);
    known.push(["Version", explained.model.run_id]);
    parts.push(card("What is known", table(["", ""], known)));
    for (const it of explained.candidates) {
      const moved = it.features.map((c) => [c.name, c.value === null ? "" : String(Math.round(1000 * c.value) / 1000), c.contribution.toFixed(2)]);
      const words = it.words.map((c) => [`"${c.text}"`, "", c.contribution.toFixed(2)]);
      const why = element("details", null, element("summary", "What moved its score"), table(["What", "Value", "By"], [...moved, ...words]));
      why.open = it === explained.candidates[0];
      parts.push(card(`${it.label} (${Math.round(100 * it.share)}%)`, why));
    }
  } else {
    parts.push(card("The model", element("p", "No version is live yet.")));
  }
  answer.replaceChildren(...parts);
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
const jobs = document.getElementById("job-list");
if (jobs) attempt(() => followJobs(jobs));
document.getElementById("try")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  await attempt(() => lookAtOne(event.target));
});
