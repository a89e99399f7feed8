"use strict";

// Requests of the review queue. `call`, `element` and `say` are those of page.js.

const AT_ONCE = 1_000; // the API takes no more items in a request
const urls = document.getElementById("review")?.dataset;

/** A page of the queue, of the user who is chosen. */
function queue(user, query) {
  const params = new URLSearchParams(query);
  if (user) params.set("user_id", user);
  return call("GET", `${urls.queue}?${params}`);
}

/** Answer a suggestion; its id in a list, which is empty if it is not pending any more. */
async function answerOne(row, answer) {
  const body = { ...answer, suggestion_ids: [row.suggestion_id], only_waiting: true };
  const { items } = await call("POST", urls.answer, body);
  if (items[0].error?.code === "conflict") return [];
  if (items[0].error) throw new Error(items[0].error.detail);
  return [row.suggestion_id];
}

/** Answer all of a group, however many; *done* gets the ids as they are answered. */
async function answerGroup(group, answer, done) {
  const whose = { user_id: group.user_id, merchant: group.merchant, suggested: group.label };
  for (let rest = true; rest; ) {
    const response = await call("POST", urls.answerMerchant, { ...answer, ...whose });
    const good = response.items.filter((it) => !it.error);
    done.push(...good.map((it) => it.suggestion_id));
    const bad = response.items.find((it) => it.error && it.error.code !== "conflict");
    if (!good.length && bad) throw new Error(bad.error.detail);
    rest = response.more && good.length > 0;
    if (rest) say(`${done.length} of ${group.rows} …`);
  }
}

/** Undo the newest answer to each. */
async function takeBack(ids) {
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const body = { action: "undo", suggestion_ids: ids.slice(at, at + AT_ONCE) };
    const { items } = await call("POST", urls.answer, body);
    const bad = items.find((it) => it.error);
    if (bad) throw new Error(bad.error.detail);
  }
}

/** What is suggested now for transactions that are there already, in their order. */
async function suggestAnew(ids) {
  const found = [];
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const { items } = await call("POST", urls.suggest, { txn_ids: ids.slice(at, at + AT_ONCE) });
    found.push(...items);
  }
  return found;
}

/** The groups of a user's merchant, after its transactions were suggested anew. */
async function groupsAnew({ user_id: user, merchant }) {
  const { items } = await queue(user, { merchant, limit: AT_ONCE });
  const own = (them) => them.filter((it) => it.user_id === user);
  await suggestAnew(own(items).map((it) => it.txn_id));
  const { groups } = await queue(user, { order: "merchant", merchant, limit: AT_ONCE });
  return own(groups);
}

/** Ask for suggestions for all, show how far they are, and give the job as it ended. */
async function suggestAll(user, where) {
  const bar = element("progress");
  bar.max = 100;
  bar.setAttribute("aria-label", "Suggestions for all");
  const text = element("span", " waiting for a worker");
  where.replaceChildren(bar, text);
  try {
    const { status_url: url } = await call("POST", urls.history, user ? { user_id: user } : {});
    for (;;) {
      const job = await call("GET", url);
      if (!["queued", "running"].includes(job.state)) return job;
      const { done, total, percent } = job.progress;
      if (total) bar.value = percent;
      if (total) text.textContent = ` ${done.toLocaleString()} of ${total.toLocaleString()}`;
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    }
  } finally {
    where.replaceChildren();
  }
}
