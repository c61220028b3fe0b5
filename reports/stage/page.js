(function () {
  "use strict";
  const at = id => document.getElementById(id);
  let scene = null, shown = "all", chosen = "";

  // ask has one thing done, and returns when it is; what went wrong is said.
  async function ask(deed) {
    at("problem").hidden = true;
    try {
      const answer = await fetch("do", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(deed) });
      if (!answer.ok) say(await answer.text());
    } catch (error) {
      say("the lab is gone");
    }
  }
  function say(text) {
    at("problem").textContent = text;
    at("problem").hidden = false;
  }
  function button(text, pressed, act) {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = text;
    if (pressed !== null) b.setAttribute("aria-pressed", String(pressed));
    b.addEventListener("click", async () => {
      b.disabled = true; // until it is done
      await act();
      b.disabled = false;
    });
    return b;
  }

  // A box of the picture stands for itself and for what no other box of it stands for.
  const name = box => box.dataset.id.replace(/^dc:/, "");
  const below = (what, id) => what === id || what.startsWith(id + ".");
  const boxes = () => [...at("picture").querySelectorAll("[data-id]")];
  function boxOf(what) {
    let best = null;
    for (const box of boxes()) if (below(what, name(box)) && (!best || name(box).length > name(best).length)) best = box;
    return best;
  }

  function render() {
    at("name").textContent = scene.name;
    at("title").textContent = document.title = scene.title;
    const variant = scene.variants.find(v => v.name === scene.variant);
    at("about").textContent = variant && variant.about || "";
    at("variants").replaceChildren(...scene.variants.map(v => button(v.name, v.name === scene.variant, () => ask({ vary: v.name }))));
    at("variants").hidden = scene.variants.length < 2;
    if (!scene.tallies.some(t => t.traffic === shown)) shown = "all";
    at("traffic").replaceChildren(...scene.tallies.map(t => button(t.traffic === "all" ? "all traffic" : t.traffic, t.traffic === shown, () => { shown = t.traffic; render(); })));
    const tally = scene.tallies.find(t => t.traffic === shown);
    for (const key of ["home", "elsewhere", "unanswered"]) at(key).textContent = scene.round || tally.home ? tally[key] : "–";
    document.querySelector(".tally .elsewhere").classList.toggle("some", tally.elsewhere > 0);
    at("play").checked = scene.playing;
    const keep = at("picture").querySelector("svg");
    if (!keep || keep.dataset.round !== String(scene.round) + scene.variant) {
      at("picture").innerHTML = scene.picture; // escaped by whoever drew it
      const svg = at("picture").querySelector("svg");
      svg.dataset.round = String(scene.round) + scene.variant;
      for (const box of boxes()) {
        box.setAttribute("tabindex", "0");
        box.setAttribute("role", "button");
        box.setAttribute("aria-label", "break something at " + name(box));
      }
    }
    for (const layer of at("picture").querySelectorAll("[data-layer]")) layer.classList.toggle("off", layer.dataset.layer !== shown);
    renderBroken();
    renderTricks();
    travel();
  }

  function renderBroken() {
    for (const box of boxes()) box.classList.remove("broken");
    for (const one of scene.broken) for (const what of one.on) {
      const box = boxOf(what);
      if (box) box.classList.add("broken");
    }
    at("brokenpart").hidden = scene.broken.length === 0;
    at("broken").replaceChildren(...scene.broken.map(one => {
      const li = document.createElement("li"), text = document.createElement("span");
      const left = one.heals ? Math.max(0, Math.round((new Date(one.heals) - Date.now()) / 1000)) : 0;
      text.textContent = one.do + " " + (one.on || []).join(", ") + (one.heals ? ", for " + left + " s more" : "");
      li.append(text, button("mend", null, () => ask({ mend: one.id })));
      return li;
    }));
  }

  function renderTricks() {
    const some = chosen ? scene.tricks.filter(t => { const box = boxOf(t.on); return box && name(box) === chosen; }) : [];
    const all = chosen ? some : scene.faults;
    at("target").textContent = chosen ? "Break something at " + chosen : scene.faults.length ? "Break something, as the file has it" : "Break something";
    for (const box of boxes()) box.classList.toggle("chosen", name(box) === chosen);
    at("tricks").replaceChildren(...all.map(t => {
      const b = button("", null, () => ask({ break: { fault: t.fault, do: t.do, on: t.on } }));
      const verb = document.createElement("b");
      verb.textContent = t.do;
      b.append(verb, " " + t.on + (t.words ? " " + t.words.join(" ") : ""));
      return b;
    }));
    if (!all.length) {
      const p = document.createElement("p");
      p.textContent = chosen ? "nothing can be broken here by itself" : "click on a site, a server or a datacenter";
      at("tricks").append(p);
    }
  }

  at("picture").addEventListener("click", event => {
    const box = event.target.closest("[data-id]");
    chosen = box && name(box) !== chosen ? name(box) : "";
    renderTricks();
  });
  at("picture").addEventListener("keydown", event => {
    if ((event.key === "Enter" || event.key === " ") && event.target.closest("[data-id]")) {
      event.preventDefault();
      event.target.closest("[data-id]").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    }
  });
  at("send").addEventListener("click", () => ask({ send: shown === "all" ? [] : [shown] }));
  at("play").addEventListener("change", () => ask({ play: at("play").checked }));

  // Dots travel along the ways: out, then back.
  const calm = matchMedia("(prefers-reduced-motion: reduce)"), circle = 3200;
  let dots = [];
  function travel() {
    for (const dot of dots) dot.mark.remove();
    dots = [];
    if (calm.matches) return;
    const layer = at("picture").querySelector("[data-layer]:not(.off)");
    if (!layer) return;
    for (const path of layer.querySelectorAll(".p")) {
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      mark.setAttribute("class", path.getAttribute("class").replace(/\bp\b/, "dot"));
      mark.setAttribute("r", path.classList.contains("out") ? 3.6 : 4.8);
      layer.append(mark);
      dots.push({ mark, path, length: path.getTotalLength(), out: path.classList.contains("out") });
    }
  }
  function step(now) {
    const turn = now % circle / circle;
    for (const dot of dots) {
      const part = (dot.out ? turn : turn - 0.5) * 2;
      dot.mark.style.visibility = part >= 0 && part <= 1 ? "" : "hidden";
      if (part < 0 || part > 1) continue;
      const p = dot.path.getPointAtLength(part * dot.length);
      dot.mark.setAttribute("cx", p.x);
      dot.mark.setAttribute("cy", p.y);
    }
    requestAnimationFrame(step);
  }
  requestAnimationFrame(step);

  // What happens, the latest on top.
  const kept = 200;
  function log(e) {
    const li = document.createElement("li"), time = document.createElement("time"), where = document.createElement("b");
    li.className = e.kind;
    time.textContent = e.at.toFixed(3) + " ";
    where.textContent = e.node + " " + e.kind + " ";
    li.append(time, where, e.text);
    at("log").prepend(li);
    while (at("log").children.length > kept) at("log").lastChild.remove();
    const box = boxOf(e.node);
    if (!box) return;
    box.classList.add("busy");
    clearTimeout(box.calm);
    box.calm = setTimeout(() => box.classList.remove("busy"), 250);
  }

  const news = new EventSource("news");
  news.addEventListener("scene", m => { scene = JSON.parse(m.data); render(); });
  news.addEventListener("sending", m => { at("sending").hidden = !JSON.parse(m.data); });
  news.addEventListener("happened", m => log(JSON.parse(m.data)));
  news.addEventListener("error", () => say("the lab is gone, or does not answer"));
  news.addEventListener("open", () => { at("problem").hidden = true; });
})();
