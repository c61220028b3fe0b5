(function () {
  "use strict";
  document.documentElement.classList.add("js");

  // press marks, of a section's buttons for the same choice, those with this value.
  function press(section, choice, value) {
    for (const button of section.querySelectorAll("button[data-" + choice + "]")) button.setAttribute("aria-pressed", String(button.dataset[choice] === value));
  }

  // Each scenario: one traffic at a time, one run's network at a time.
  for (const section of document.querySelectorAll(".scenario")) {
    const showTraffic = name => {
      for (const layer of section.querySelectorAll("[data-layer]")) layer.classList.toggle("off", layer.dataset.layer !== name);
    };
    const showRun = key => {
      for (const panel of section.querySelectorAll("[data-panel]")) panel.classList.toggle("on", panel.dataset.panel === key);
    };
    section.addEventListener("click", event => {
      const button = event.target.closest("button");
      if (!button) return;
      const { traffic, run } = button.dataset;
      if (traffic) { press(section, "traffic", traffic); showTraffic(traffic); }
      if (run) { press(section, "run", run); showRun(run); }
    });
    showTraffic(section.dataset.default);
    const first = section.querySelector("[data-panel]");
    if (first) showRun(first.dataset.panel);
  }

  // The flow table.
  const data = JSON.parse(document.getElementById("data").textContent);
  const digits = (value, n) => value.toLocaleString("en", { maximumFractionDigits: n, minimumFractionDigits: n });
  const number = n => value => value ? digits(value, n) : "–"; // a zero is unknown
  const columns = [
    { name: "Run", key: "run", show: value => data.runs[value] },
    { name: "Flow", key: "flow" },
    { name: "Result", key: "result", tag: true },
    { name: "Asked by", key: "client" },
    { name: "Reply seen at", key: "seen" },
    { name: "Source", key: "src", addr: true },
    { name: "Destination", key: "dst", addr: true },
    { name: "On-ramp", key: "onramp" },
    { name: "Kind", key: "kind", optional: true },
    { name: "Virtual network", key: "vnet", optional: true },
    { name: "Policies", key: "rules", optional: true },
    { name: "Home server", key: "home" },
    { name: "Off-ramp", key: "offramp", optional: true },
    { name: "Egress", key: "egress", addr: true },
    { name: "Returned by", key: "return" },
    { name: "Start ms", key: "start", num: true, show: value => digits(value, 1) },
    { name: "Round trip ms", key: "rtt", num: true, show: number(2) },
    { name: "Whole ms", key: "time", num: true, show: number(1) },
    { name: "Bytes down", key: "down", num: true, show: number(0) },
    { name: "Why", key: "reason" },
  ].filter(c => !c.optional || new Set(data.rows.map(row => row[c.key])).size > 1); // one value everywhere says nothing
  const filters = document.getElementById("filters"), shown = document.getElementById("shown"), more = document.getElementById("more");
  const table = document.getElementById("flowtable"), page = 100;
  let sort = null, up = true, limit = page;

  for (const key of ["traffic", "result"]) {
    for (const value of [...new Set(data.rows.map(row => row[key]))].sort()) filters.elements[key].add(new Option(value, value));
  }
  for (const row of data.rows) row.text = columns.map(c => c.show && !c.num ? c.show(row[c.key]) : row[c.key]).join(" ").toLowerCase() + " " + row.proto;

  // selected rows, sorted; numbers inside names count as numbers.
  function select() {
    const f = filters.elements, words = f.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.rows.filter(row => (!f.run.value || row.run === +f.run.value) && (!f.traffic.value || row.traffic === f.traffic.value) &&
      (!f.result.value || row.result === f.result.value) && words.every(word => row.text.includes(word)));
    if (sort) {
      const order = sort.num || sort.key === "run" ? (a, b) => a[sort.key] - b[sort.key]
        : (a, b) => String(a[sort.key]).localeCompare(String(b[sort.key]), "en", { numeric: true });
      rows.sort((a, b) => up ? order(a, b) : order(b, a));
    }
    return rows;
  }

  function render() {
    const rows = select(), body = document.createElement("tbody");
    for (const row of rows.slice(0, limit)) {
      const tr = body.insertRow();
      for (const column of columns) {
        const td = tr.insertCell(), value = column.show ? column.show(row[column.key]) : row[column.key];
        if (column.num) td.className = "num";
        if (column.addr) td.className = "addr";
        if (column.tag) {
          const tag = document.createElement("span");
          tag.className = "tag " + value;
          tag.textContent = value;
          td.append(tag);
        } else td.textContent = value || "–";
      }
    }
    table.tBodies[0].replaceWith(body);
    shown.textContent = Math.min(limit, rows.length) + " of " + rows.length + " flows";
    more.hidden = rows.length <= limit;
  }

  const head = table.tHead.insertRow();
  for (const column of columns) {
    const th = document.createElement("th"), button = document.createElement("button");
    th.scope = "col";
    if (column.num) th.className = "num";
    button.type = "button";
    button.textContent = column.name;
    button.addEventListener("click", () => {
      up = sort === column ? !up : true;
      sort = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const other of head.children) other.firstChild.textContent = other.firstChild.textContent.replace(/ [▲▼]$/, "");
      button.textContent = column.name + (up ? " ▲" : " ▼");
      render();
    });
    th.append(button);
    head.append(th);
  }
  filters.addEventListener("input", () => { limit = page; render(); });
  filters.addEventListener("submit", event => event.preventDefault());
  more.addEventListener("click", () => { limit += page; render(); });
  render();
})();
