"use strict";
(() => {
  const root = document.documentElement;
  root.classList.remove("nojs");

  // -- colours: the system's, or one that the reader chose

  const theme = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  let chosen = 0;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    chosen = (chosen + 1) % themes.length;
    if (chosen) root.dataset.theme = themes[chosen];
    else delete root.dataset.theme;
    theme.textContent = `Colours: ${themes[chosen]}`;
  });

  const make = (tag, className, ...children) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };

  // -- one run

  class Viewer {
    constructor(element) {
      this.element = element;
      this.data = JSON.parse(element.querySelector(".data").textContent);
      this.slider = element.querySelector("input[type=range]");
      this.rows = new Map([...element.querySelectorAll("tr[data-step]")].map((row) => [Number(row.dataset.step), row]));
      this.last = this.data.steps.length - 1;
      this.frame = 0;
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      for (const button of element.querySelectorAll("[data-go]")) button.addEventListener("click", () => this.move(button.dataset.go));
      element.addEventListener("pointerdown", () => { active = this; });
      element.addEventListener("focusin", () => { active = this; });
      for (const [number, row] of this.rows) row.addEventListener("click", (event) => { if (!event.target.closest("a")) this.go(number); });
      const bar = element.querySelector(".controls");
      new ResizeObserver(() => element.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar); // what sticks below it
      this.buildGrid();
      this.show(this.last);
    }

    move(where) {
      const to = { first: 0, back: this.at - 1, forward: this.at + 1, last: this.last }[where];
      this.go(Math.min(Math.max(to, 0), this.last));
    }

    /** Show a step and name it in the address, without a place in the history for each key press. */
    go(number) {
      this.show(number);
      history.replaceState(null, "", `#${this.data.prefix}step-${number}`);
      this.rows.get(number).scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    show(number) {
      this.rows.get(this.at)?.removeAttribute("aria-current");
      this.at = number;
      this.frame = 0;
      this.rows.get(number).setAttribute("aria-current", "step");
      this.slider.value = number;
      this.slider.setAttribute("aria-valuetext", `step ${number} of ${this.last}`);
      this.element.querySelector(".count").textContent = `${number} of ${this.last}`;
      for (const button of this.element.querySelectorAll("[data-go]")) {
        button.setAttribute("aria-disabled", String(["first", "back"].includes(button.dataset.go) ? number === 0 : number === this.last));
      }
      const step = this.data.steps[number];
      const now = this.element.querySelector(".now");
      now.replaceChildren(make("span", "", number ? `${number}. ${step.text}` : step.text));
      for (const [mark, text] of step.notes) now.append(make("span", `note ${{ "+": "fill", "-": "drop", "!": "warn", x: "broken" }[mark]}`, text));
      if (this.data.grid) this.showGrid(number);
      this.showRegisters(number);
      this.showSource(step);
    }

    // -- the TLB: tags by pages, one grid for each CPU

    buildGrid() {
      const place = this.element.querySelector("[data-tlb]");
      const grid = this.data.grid;
      this.cells = new Map();
      if (!grid) { this.element.querySelector(".tlb").hidden = !this.element.querySelector(".tlb .quiet"); return; }
      for (let cpu = 0; cpu < this.data.cpus; cpu++) {
        const head = make("tr", "", make("th", "corner", `${grid.row} \\ ${grid.column}`));
        for (const name of grid.columns) head.append(Object.assign(make("th", "", name), { scope: "col" }));
        const body = make("tbody");
        grid.rows.forEach((name, r) => {
          const line = make("tr", "", Object.assign(make("th", "", name), { scope: "row" }));
          grid.columns.forEach((_, c) => { const cell = make("td"); this.cells.set(`${cpu},${r},${c}`, cell); line.append(cell); });
          body.append(line);
        });
        const table = make("table", "grid", make("caption", "", `CPU${cpu}'s ${grid.name}`), make("thead", "", head), body);
        table.style.minWidth = `${4.2 + 5.2 * grid.columns.length}rem`; // narrower, words break; it scrolls instead
        const frame = Object.assign(make("div", "scroll", table), { tabIndex: 0 });
        frame.setAttribute("role", "region");
        frame.setAttribute("aria-label", `CPU${cpu}'s ${grid.name}`);
        place.append(frame);
      }
    }

    /** What is cached: the changes of all steps so far, one after the other. */
    showGrid(number) {
      const held = new Map(); // "cpu,entry": since which step it is stale, or null
      this.data.steps.slice(0, number + 1).forEach((step, i) => {
        for (const [cpu, entry, what] of step.cache) {
          if (what === "dropped") held.delete(`${cpu},${entry}`);
          else held.set(`${cpu},${entry}`, what === "stale" ? i : null);
        }
      });
      for (const cell of this.cells.values()) cell.replaceChildren();
      const order = [...held].map(([key, stale]) => [...key.split(",").map(Number), stale]);
      order.sort(([, a], [, b]) => Number(this.data.grid.entries[b][3]) - Number(this.data.grid.entries[a][3]) || a - b); // what is watched comes first
      for (const [cpu, entry, stale] of order) {
        const [row, column, words, watched, text] = this.data.grid.entries[entry];
        const made = make("div", ["cached", watched ? "watched" : "", stale === null ? "" : "stale"].join(" ").trim(), words);
        made.title = text;
        if (stale !== null) made.append(make("span", watched ? "since" : "hidden", stale ? ` stale since step ${stale}` : " stale from the start"));
        this.cells.get(`${cpu},${row},${column}`).append(made);
      }
    }

    // -- registers and variables; what this step changed is marked

    showRegisters(number) {
      const values = new Map();
      for (const step of this.data.steps.slice(0, number + 1)) for (const [cpu, name, text] of step.set) values.set(`${cpu} ${name}`, text);
      const changed = new Set(number ? this.data.steps[number].set.map(([cpu, name]) => `${cpu} ${name}`) : []);
      const cell = (key) => {
        const made = make("td", changed.has(key) ? "changed" : "", values.get(key) ?? "");
        if (changed.has(key)) made.append(make("span", "hidden", " (changed)"));
        return made;
      };
      const body = make("tbody");
      const row = (name, cells) => body.append(make("tr", "", Object.assign(make("th", "", name), { scope: "row" }), ...cells));
      const cpus = [...Array(this.data.cpus).keys()];
      for (const name of this.data.own) row(name, cpus.map((cpu) => cell(`${cpu} ${name}`)));
      for (const name of this.data.common) row(name, [Object.assign(cell(`-1 ${name}`), { colSpan: this.data.cpus })]);
      const head = make("tr", "", make("td"), ...cpus.map((cpu) => Object.assign(make("th", "", `CPU${cpu}`), { scope: "col" })));
      this.element.querySelector("[data-registers]").replaceChildren(make("table", "values", make("thead", "", head), body));
    }

    // -- the source of a procedure on the stack, the line in it marked

    showSource(step) {
      const place = this.element.querySelector("[data-source]");
      const scrolled = place.querySelector(".listing")?.scrollTop ?? 0;
      if (!step.stack.length) { place.replaceChildren(make("p", "quiet", this.at ? "The source of this step is not known." : "Before the first step.")); return; }
      const frames = make("ol", "stack");
      step.stack.forEach(([, , procedure, where], i) => {
        const button = make("button", "", `${procedure ? `${procedure}, ` : ""}${where}`);
        button.type = "button";
        if (i === this.frame) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => { this.frame = i; this.showSource(step); place.querySelectorAll(".stack button")[i].focus(); });
        frames.append(make("li", "", button));
      });
      const [number, line] = step.stack[this.frame];
      const source = this.data.sources[number];
      if (!source) { place.replaceChildren(make("p", "quiet", "The text of this procedure is not part of the result."), frames); return; }
      const table = make("table", "code");
      source.text.forEach((text, i) => {
        const marks = make("td", "mark");
        const here = [...this.data.steps.keys()].filter((k) => { const top = this.data.steps[k].stack[0]; return top && top[0] === number && top[1] === i; });
        const near = here.sort((a, b) => Math.abs(a - this.at) - Math.abs(b - this.at)).slice(0, 6).sort((a, b) => a - b); // a loop has too many
        for (const k of near) marks.append(Object.assign(make("a", "", String(k)), { href: `#${this.data.prefix}step-${k}`, title: `step ${k}` }));
        const row = make("tr", i === line ? "current" : "", make("td", "n", source.labels[i]), make("td", "", make("code", "", text)), marks);
        if (i === line) row.setAttribute("aria-current", "true");
        table.append(row);
      });
      const listing = Object.assign(make("div", "listing scroll", table), { tabIndex: 0 });
      listing.setAttribute("role", "region");
      listing.setAttribute("aria-label", `Source of ${source.procedure}`);
      place.replaceChildren(listing, frames);
      listing.scrollTop = scrolled;
      const current = table.querySelector(".current");
      if (current && (current.offsetTop < listing.scrollTop || current.offsetTop + current.offsetHeight > listing.scrollTop + listing.clientHeight)) {
        listing.scrollTop = current.offsetTop - listing.clientHeight / 2;
      }
    }
  }

  let active = null;
  const viewers = [...document.querySelectorAll(".viewer")].map((element) => new Viewer(element));
  active = viewers[0] ?? null;

  // -- links to steps, and to whatever a folded part hides

  const follow = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { return; }
    const target = id && document.getElementById(id);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.localName === "details") at.open = true;
    target.querySelector(":scope > details")?.setAttribute("open", "");
    const viewer = viewers.find((v) => v.element.contains(target) && target.dataset.step !== undefined);
    if (viewer) {
      active = viewer;
      viewer.show(Number(target.dataset.step));
      viewer.element.querySelector(".columns").scrollIntoView({ block: "start" }); // so that the panels beside the lanes are seen too
    }
    target.scrollIntoView({ block: viewer ? "nearest" : "start" });
  };
  addEventListener("hashchange", follow);
  addEventListener("load", follow); // after the browser went to the fragment itself
  follow();

  // -- keys

  const keys = { ArrowLeft: "back", ArrowUp: "back", k: "back", ArrowRight: "forward", ArrowDown: "forward", j: "forward", Home: "first", End: "last" };
  addEventListener("keydown", (event) => {
    const where = keys[event.key];
    if (!where || !active || event.ctrlKey || event.altKey || event.metaKey) return;
    const field = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
    if (field && !(field === active.slider && "jk".includes(event.key))) return;
    const inside = event.target instanceof Element && event.target.closest(".controls, .lanes, .scroll:has(.lanes)");
    if (["Home", "End", "ArrowUp", "ArrowDown"].includes(event.key) && !inside) return; // elsewhere they move the page
    active.move(where);
    event.preventDefault();
  });

  // -- paper shows everything

  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details:not([open])")) { folded.dataset.folded = ""; folded.open = true; }
  });
  addEventListener("afterprint", () => {
    for (const opened of document.querySelectorAll("details[data-folded]")) { opened.open = false; delete opened.dataset.folded; }
  });
})();
