// The one script of the dashboard. Pages are made by the server and work without it; with it they stay fresh, say so
// when they cannot, keep a theme, and follow what goes on.
"use strict";
(() => {
  const EVERY = 2000; // ms between two looks at the gateway
  const PATIENCE = 8000; // ms that one may take
  const root = document.documentElement;

  // ---- theme: before anything is drawn

  const themed = (name) => (name === "light" || name === "dark" ? (root.dataset.theme = name) : delete root.dataset.theme);
  const remembered = () => { try { return localStorage.getItem("portico-theme") || "auto"; } catch { return "auto"; } };
  themed(remembered());

  function offerThemes() {
    const field = document.querySelector(".theme");
    if (!field) return;
    field.hidden = false;
    for (const input of field.querySelectorAll("input")) {
      input.checked = input.value === remembered();
      input.addEventListener("change", () => {
        themed(input.value);
        try { localStorage.setItem("portico-theme", input.value); } catch { /* for this page alone, then */ }
      });
    }
  }

  // ---- the menu of narrow screens

  function offerMenu() {
    const button = document.querySelector("button.menu");
    if (!button) return;
    const body = document.getElementById("menu");
    const set = (open) => { button.setAttribute("aria-expanded", open); body.classList.toggle("open", open); };
    root.classList.add("scripted");
    button.hidden = false;
    button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && button.getAttribute("aria-expanded") === "true") { set(false); button.focus(); }
    });
  }

  // ---- one tree made like another, so that focus, selection, and what is open or being typed stay

  const keyOf = (node) => (node.nodeType === 1 && node.id ? node.id : null);
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  function morph(old, fresh) {
    if (old.nodeType !== 1) { if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue; return; }
    if (old.hasAttribute("data-keep")) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const same = keyOf(wanted) ? known.get(wanted.id) : at && alike(at, wanted) ? at : null;
      if (same && alike(same, wanted)) {
        if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
        morph(same, wanted);
      } else {
        old.insertBefore(document.importNode(wanted, true), at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  // ---- fresh, or stale

  let lastSeen = Date.now();
  let isStale = false;
  let why = "";

  function age(ms) {
    const s = Math.round(ms / 1000);
    return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  }

  function banner(text) {
    const line = document.querySelector(".stale p");
    if (!line) return;
    line.hidden = !text;
    if (line.textContent !== text) line.textContent = text;
    document.body.classList.toggle("is-stale", Boolean(text) && isStale);
  }

  // What a screen reader says once stands in the live region; the age that ticks beside it is not read out each second.
  function showStale() {
    const line = document.querySelector(".stale p");
    if (!line) return;
    banner(`Stale: ${why}`);
    let ticking = line.nextElementSibling;
    if (!ticking) {
      ticking = document.createElement("span");
      ticking.setAttribute("aria-live", "off");
      line.after(ticking);
    }
    ticking.textContent = `What you see is ${age(Date.now() - lastSeen)} old.`;
  }

  function showFresh() {
    lastSeen = Date.now();
    if (!isStale) return;
    isStale = false;
    document.querySelector(".stale span")?.remove();
    banner("The gateway answers again.");
    setTimeout(() => { if (!isStale) banner(""); }, 4000);
  }

  async function look() {
    const kind = document.body.dataset.live;
    const answer = await fetch(location.pathname + location.search, {
      headers: { "Portico-Fragment": kind, Accept: "text/html" }, cache: "no-store", redirect: "manual",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.status === 401) throw new Error("you are signed out. Load the page again to sign in.");
    if (!answer.ok) throw new Error(`the gateway answers with status ${answer.status}.`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const pulse = fresh.getElementById("pulse");
    if (!pulse) throw new Error("something else answers in place of the gateway.");
    if (document.hidden) return;
    morph(document.getElementById("pulse"), pulse);
    const main = fresh.querySelector("main");
    if (main) morphChildren(document.getElementById("main"), main);
  }

  async function keepFresh() {
    for (;;) {
      await new Promise((done) => setTimeout(done, EVERY));
      if (document.hidden) continue; // what nobody looks at costs nothing
      try {
        await look();
        showFresh();
      } catch (error) {
        isStale = true;
        why = error.message && error.name === "Error" ? error.message : "the gateway does not answer.";
      }
    }
  }

  // ---- what goes on: streams, each line of which is made of text and never of markup

  const seconds = (at) => { const day = new Date(at); return Number.isNaN(day.valueOf()) ? String(at) : day.toISOString().slice(11, 23); };

  function cell(row, text, label, kind) {
    const made = document.createElement("td");
    made.textContent = text;
    if (label) made.dataset.label = label;
    if (kind) made.className = kind;
    row.append(made);
  }

  function worded(value, kind) {
    if (value === undefined || value === null) return "";
    if (kind === "time") return seconds(typeof value === "number" ? value * 1000 : value);
    if (kind === "ms") return `${Number(value).toFixed(1)} ms`;
    if (kind.startsWith("details")) return Object.entries(value).map(([name, each]) => `${name}: ${each}`).join(", ");
    return String(value);
  }

  function classOf(value, kind) {
    if (kind === "status") return `num status-${String(value)[0]}`;
    if (kind === "level") return { WARNING: "status-4", ERROR: "status-5", CRITICAL: "status-5" }[value] || "";
    return kind === "ms" ? "num" : kind;
  }

  function follow(table) {
    const body = table.tBodies[0];
    const columns = JSON.parse(table.dataset.columns);
    const most = Number(table.dataset.most);
    const state = document.getElementById(table.dataset.state);
    const button = document.getElementById(table.dataset.pause);
    let source = null;
    let count = 0;
    const say = (text) => { if (state.textContent !== text) state.textContent = text; };
    const start = () => {
      source = new EventSource(table.dataset.stream);
      source.onopen = () => say("Live");
      source.onerror = () => say(source.readyState === EventSource.CLOSED ? "Ended: load the page again" : "Stale: waiting for the gateway");
      const take = (event) => {
        let entry;
        try { entry = JSON.parse(event.data); } catch { return; }
        for (const each of Array.isArray(entry) ? entry : [entry]) add(each);
      };
      source.onmessage = take;
      for (const kind of JSON.parse(table.dataset.kinds || "[]")) source.addEventListener(kind, take);
    };
    const add = (entry) => {
      const row = document.createElement("tr");
      for (const [key, label, kind] of columns) cell(row, worded(entry[key], kind), label, classOf(entry[key], kind));
      body.prepend(row);
      while (body.rows.length > most) body.deleteRow(-1);
      document.getElementById(table.dataset.count).textContent = String(++count);
      table.closest("section").querySelector(".waiting")?.remove();
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      const running = source !== null;
      if (running) { source.close(); source = null; say("Paused"); } else start();
      button.textContent = running ? "Go on" : "Pause";
    });
    start();
    addEventListener("pagehide", () => source?.close());
    addEventListener("pageshow", (event) => { if (event.persisted && source) start(); });
  }

  // ---- forms that ask first

  function askFirst(event) {
    const question = event.submitter?.dataset.ask || event.target.dataset.ask;
    if (question && !confirm(question)) event.preventDefault();
  }

  document.addEventListener("DOMContentLoaded", () => {
    offerThemes();
    offerMenu();
    document.addEventListener("submit", askFirst);
    for (const table of document.querySelectorAll("table[data-stream]")) follow(table);
    if (document.body.dataset.live) {
      keepFresh();
      setInterval(() => { if (isStale) showStale(); }, 1000);
    }
  });
})();
