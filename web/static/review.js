"use strict";

// The review queue: what is on the page, where the focus is, and what a person decides. What an
// entry looks like is in review_entry.js, what the API is asked in review_api.js. It is asked one
// thing after the other, so that no undo overtakes its answer.
{
  const PAGE = 50;
  const AHEAD = 10; // so many before the end, the next page is asked for
  const MANY = 2_000; // of so many or more the API does not count how many are left

  const page = document.getElementById("review");
  const view = document.getElementById("view");
  const list = document.getElementById("waiting");
  const more = document.getElementById("more");
  const nothing = document.getElementById("nothing");
  const help = document.getElementById("keys");
  const names = document.getElementById("categories");

  let entries = []; // in their order on the page
  let current = null;
  let next = null; // where the next page begins
  let loading = null;
  let places = 0;
  let left = 0;
  let many = false;
  let decided = 0;
  const made = []; // decisions, the newest last
  let turn = Promise.resolve();

  const wanted = new URLSearchParams(location.search);
  const user = () => (view.elements.user_id ? view.elements.user_id.value : wanted.get("user_id") || "").trim();
  const shown = () => `${view.elements.order.value} ${user()}`;
  const inTurn = (work) => (turn = turn.then(() => attempt(work)));

  // One place of the queue: a transaction, or a group of them.

  function entryOf(it) {
    const entry = { place: places++, note: "", skipped: false };
    tell(entry, it);
    entry.node = element("article");
    entry.box = classed("div", "box");
    entry.item = element("li", null, entry.node);
    entry.node.addEventListener("focusin", () => choose(entry));
    return entry;
  }

  /** Take over what is suggested now. */
  function tell(entry, it) {
    const row = it.samples ? it.samples[0] : it;
    entry.row = { ...row, label: it.label, user_id: it.user_id };
    entry.group = it.samples ? it : null;
    entry.count = it.samples ? it.rows : 1;
  }

  function draw(entry) {
    const { node, box } = entry;
    const open = entry === current;
    const whose = user() ? "" : entry.row.user_id;
    const parts = summary(entry, open, whose);
    if (open) parts.push(tools(entry, { decide, openBox, skip }), box);
    const active = document.activeElement;
    const typing = box.contains(active);
    const inside = node !== active && node.contains(active);
    node.replaceChildren(...parts);
    if (typing) active.focus();
    else if (inside) node.focus();
    node.tabIndex = open ? 0 : -1;
    if (open) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
    node.setAttribute("aria-label", inWords(entry, whose));
  }

  /** Have this one open, and no other. */
  function choose(entry) {
    if (current === entry) return;
    const before = current;
    current = entry;
    if (before && entries.includes(before)) {
      before.box.replaceChildren();
      draw(before);
    }
    if (entry) draw(entry);
    if (entry && next && entries.length - entries.indexOf(entry) <= AHEAD) attempt(load);
  }

  function goTo(entry) {
    if (!entry) return settle();
    choose(entry);
    entry.node.focus({ preventScroll: true });
    inSight();
  }

  function inSight() {
    if (current?.node.contains(document.activeElement)) current.node.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const at = entries.indexOf(current) + by;
    if (entries[at]) goTo(entries[at]);
  }

  /** Where the focus goes when nothing is there to go to. */
  async function settle() {
    if (next) {
      document.getElementById("help").focus();
      if (!(await attempt(load))) return;
    }
    showNothing();
    if (entries.length) goTo(entries[0]);
    else document.getElementById("nothing-title").focus();
  }

  function showNothing() {
    nothing.hidden = entries.length > 0;
    const title = document.getElementById("nothing-title");
    title.textContent = places ? "All done: nothing waits any more" : "Nothing waits for you";
  }

  function take(entry) {
    const at = entries.indexOf(entry);
    if (at < 0) return;
    const held = entry.node.contains(document.activeElement);
    const wasOpen = current === entry;
    entries.splice(at, 1);
    if (wasOpen) current = null;
    if (held || wasOpen) goTo(entries[at] || entries[at - 1]);
    entry.item.remove();
  }

  function putBack(entry) {
    const at = entries.findIndex((it) => it.place > entry.place);
    const before = at < 0 ? null : entries[at].item;
    entries.splice(at < 0 ? entries.length : at, 0, entry);
    list.insertBefore(entry.item, before);
    nothing.hidden = true;
    draw(entry);
  }

  function count() {
    const rest = many ? `${MANY.toLocaleString()} or more` : left.toLocaleString();
    document.getElementById("count").textContent = `${rest} left · ${plural(decided, "decision")} made`;
    more.hidden = !next;
  }

  // What a person decides.

  function decide(entry, action, label = null) {
    if (action !== "correct" && !entry.row.label) {
      return say(`Nothing is suggested for ${named(entry)}: choose 1 to 3, or c for any category.`);
    }
    const decision = { entry, ids: [], label: label || entry.row.label, shown: shown() };
    take(entry);
    inTurn(async () => {
      let trouble = "";
      try {
        if (entry.group) await answerGroup(entry.group, { action, label }, decision.ids);
        else decision.ids = await answerOne(entry.row, { action, label });
      } catch (error) {
        if (!decision.ids.length) {
          putBack(entry);
          goTo(entry);
          throw error;
        }
        trouble = ` Then: ${error.message}`;
      }
      if (!decision.ids.length) {
        say(`${named(entry)} was answered meanwhile, elsewhere: the queue is read anew.`);
        begin(true); // waits for this turn to end
        return;
      }
      made.push(decision);
      decided += 1;
      left = Math.max(0, left - decision.ids.length);
      const what = { accept: "accepted", correct: "chosen", reject: "rejected" }[action];
      const rows = entry.group ? ` (${plural(decision.ids.length, "row")})` : "";
      count();
      const done = `${decision.label} ${what} for ${named(entry)}${rows}`;
      say(`${done}.${trouble}`);
      const why = action === "reject" ? `because you rejected ${decision.label}` : "because you chose it";
      const others = await again(entry, decision.label, why);
      inSight();
      if (others) say(`${done}; ${plural(others, "other")} changed with it.${trouble}`);
    });
  }

  function undo() {
    inTurn(async () => {
      const last = made.at(-1);
      if (!last) return say("There is nothing to undo.");
      await takeBack(last.ids);
      made.pop();
      decided -= 1;
      left += last.ids.length;
      if (last.shown !== shown()) {
        say(`Undone: ${named(last.entry)} waits again.`);
        begin(true); // this is another list than the one it was in
        return;
      }
      last.entry.note = "";
      putBack(last.entry);
      goTo(last.entry);
      count();
      say(`Undone: ${named(last.entry)} waits again.`);
      await again(last.entry, null, "because you undid that");
      inSight();
    });
  }

  function skip(entry) {
    entry.skipped = true;
    draw(entry);
    say(`${named(entry)} skipped: it stays in the queue.`);
    move(1);
  }

  // What a decision changes for the others of the same user and merchant.

  /** After a change of the order there may be one of the other kind, put back by an undo. */
  function relatives({ row, group }) {
    const alike = (it) => it.row.user_id === row.user_id && it.row.merchant === row.merchant;
    return entries.filter((it) => alike(it) && !it.group === !group);
  }

  async function again(entry, label, why) {
    const others = relatives(entry).filter((it) => it !== entry);
    if (!others.length) return 0;
    return entry.group ? await groupsAgain(entry, label, why) : await rowsAgain(others, label, why);
  }

  function changed(entry, before, label, why) {
    if (entry.row.label === before) return false;
    entry.note = changeIn(entry, before, label, why);
    return true;
  }

  async function rowsAgain(others, label, why) {
    const items = await suggestAnew(others.map((it) => it.row.txn_id));
    let count = 0;
    others.forEach((entry, at) => {
      if (!items[at].suggestion_id || !entries.includes(entry)) return;
      const before = entry.row.label;
      tell(entry, { ...entry.row, ...items[at] });
      if (changed(entry, before, label, why)) count += 1;
      draw(entry);
    });
    return count;
  }

  async function groupsAgain(entry, label, why) {
    const fresh = new Map((await groupsAnew(entry.row)).map((it) => [it.label, it]));
    let count = 0;
    const gone = relatives(entry).filter((it) => {
      const group = fresh.get(it.row.label);
      fresh.delete(it.row.label);
      if (!group) return true;
      if (group.rows !== it.count) {
        it.note = `now ${plural(group.rows, "row")}, ${why}`;
        count += 1;
      }
      tell(it, group);
      draw(it);
      return false;
    });
    for (const it of gone) {
      const [group] = fresh.values();
      if (group) {
        fresh.delete(group.label);
        const before = it.row.label;
        tell(it, group);
        if (changed(it, before, label, why)) count += 1;
        draw(it);
      } else {
        take(it);
        count += 1;
      }
    }
    // Those that a later page would have had are beside the others of their merchant now.
    for (const group of fresh.values()) {
      const found = entryOf(group);
      found.place = entry.place;
      putBack(found);
    }
    return count;
  }

  function openBox(entry) {
    const close = () => {
      entry.box.replaceChildren();
      entry.node.focus();
    };
    const chosen = (label) => {
      close();
      decide(entry, "correct", label);
    };
    const form = categoryForm(`Category for ${named(entry)}`, names, chosen, close);
    entry.box.replaceChildren(form);
    form.querySelector("input").focus();
    form.scrollIntoView({ block: "nearest" });
  }

  // Pages.

  function load() {
    loading ??= loadNow().finally(() => {
      loading = null;
    });
    return loading;
  }

  async function loadNow() {
    const query = { order: view.elements.order.value, limit: PAGE };
    if (next) query.after = next;
    const answer = await queue(user(), query);
    next = answer.next;
    if (answer.left !== null) {
      left = answer.left;
      many = left >= MANY;
    }
    for (const it of [...answer.items, ...answer.groups]) {
      const entry = entryOf(it);
      if (entry.group && relatives(entry).some((other) => other.row.label === it.label)) continue;
      entries.push(entry);
      list.append(entry.item);
      draw(entry);
    }
    count();
    return true;
  }

  /** From the beginning; `focus` says whether the queue takes it. */
  async function begin(focus) {
    await turn;
    if (loading) await loading;
    entries = [];
    current = null;
    next = null;
    list.replaceChildren();
    nothing.hidden = true;
    if (!(await attempt(load))) return;
    showNothing();
    if (focus) goTo(entries[0]);
    else if (entries.length) choose(entries[0]);
  }

  async function askForAll() {
    say("Suggestions were asked for.");
    const job = await suggestAll(user(), document.getElementById("job"));
    if (job.result?.suggested) location.reload();
    else say(job.error ? `The job ${job.state}: ${job.error.message}` : `The job ${job.state}: there is nothing to suggest.`);
  }

  const KEYS = {
    j: () => move(1),
    ArrowDown: () => move(1),
    k: () => move(-1),
    ArrowUp: () => move(-1),
    a: () => decide(current, "accept"),
    Enter: () => decide(current, "accept"),
    r: () => decide(current, "reject"),
    c: () => openBox(current),
    s: () => skip(current),
  };

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=radio]), select, dialog")) return;
    const { key } = event;
    if (key.startsWith("Arrow") && event.target.closest("input")) return; // it moves between the radios
    if (key === "Enter" && event.target.closest("button, a, input")) return;
    const choice = ["1", "2", "3"].includes(key) && current?.row.alternatives[key - 1];
    const steps = key.startsWith("Arrow") || ["j", "k"].includes(key);
    if (key === "?") help.showModal();
    else if (event.repeat && !steps) return;
    else if (key === "u") undo();
    else if (current && choice) decide(current, "correct", choice.label);
    else if (current && Object.hasOwn(KEYS, key)) KEYS[key]();
    else return;
    event.preventDefault();
  }

  if (page) {
    document.addEventListener("keydown", pressed);
    list.addEventListener("click", (event) => {
      const entry = entries.find((it) => it.node.contains(event.target));
      if (entry && !event.target.closest("input, label, form")) goTo(entry);
    });
    document.getElementById("undo").addEventListener("click", undo);
    document.getElementById("help").addEventListener("click", () => help.showModal());
    more.addEventListener("click", async () => {
      const at = entries.length;
      await attempt(load);
      goTo(entries[at] || entries.at(-1));
    });
    document.getElementById("history")?.addEventListener("click", (event) => {
      event.target.disabled = true;
      document.getElementById("nothing-title").focus();
      attempt(askForAll).finally(() => {
        event.target.disabled = false;
      });
    });
    view.addEventListener("submit", (event) => event.preventDefault());
    if (wanted.get("order") === "merchant") view.elements.order.value = "merchant";
    const whose = wanted.get("user_id");
    if (view.elements.user_id && whose) {
      view.elements.user_id.value = whose;
      // Nothing was suggested for this one yet: that is no reason to show everybody.
      if (view.elements.user_id.value !== whose) view.elements.user_id.add(new Option(whose, whose, true, true));
    }
    view.addEventListener("change", () => {
      const query = new URLSearchParams({ order: view.elements.order.value });
      if (user()) query.set("user_id", user());
      history.replaceState(null, "", `?${query}`);
      begin(false);
    });
    begin(document.activeElement === document.body);
  }
}
