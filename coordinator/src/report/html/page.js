// Reads values out under the pointer, and under the arrow keys. Everything else on the page works without it.
(() => {
  "use strict";
  const three = (v) => (Math.abs(v) >= 99.95 ? v.toFixed(0) : String(+v.toPrecision(3)));
  const number = (v) => (Number.isInteger(v) || Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en-US") : three(v));
  const seconds = (v) => {
    const m = Math.abs(v);
    if (m === 0) return "0 s";
    if (m < 999.5e-6) return three(v * 1e6) + " µs";
    if (m < 0.9995) return three(v * 1e3) + " ms";
    if (m < 119.95) return three(v) + " s";
    const s = Math.round(m);
    return s < 7200 ? `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s` : `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  };
  const bytes = (v) => {
    for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) { if (Math.abs(v) < 1023.5) return number(v) + " " + unit; v /= 1024; }
    return number(v) + " PiB";
  };
  const show = { number, seconds, bytes };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  const plots = [];
  for (const figure of document.querySelectorAll("figure.plot")) {
    const source = figure.querySelector("script");
    if (!source) continue;
    const canvas = figure.querySelector(".canvas");
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.hidden = true;
    canvas.append(cursor);
    plots.push({ canvas, cursor, source, data: null, time: canvas.hasAttribute("data-time"), index: -1 });
  }
  const load = (plot) => (plot.data ??= JSON.parse(plot.source.textContent));

  // The point nearest to a place on the axis; places ascend.
  const nearest = (at, place) => {
    let low = 0, high = at.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (at[middle] < place) low = middle; else high = middle; }
    return Math.abs(at[low] - place) <= Math.abs(at[high] - place) ? low : high;
  };
  const hide = () => { tip.hidden = true; for (const plot of plots) plot.cursor.hidden = true; };
  const point = (plot, index, x, y) => {
    const data = load(plot);
    plot.index = index;
    const place = data.at[index];
    // All plots over the run's time show the same moment.
    for (const other of plots) {
      const with_it = other === plot || (plot.time && other.time);
      other.cursor.hidden = !with_it;
      if (with_it) other.cursor.style.left = place * 100 + "%";
    }
    tip.replaceChildren();
    const head = document.createElement("b");
    head.textContent = data.labels[index];
    tip.append(head);
    for (const line of data.lines) {
      const value = line.values[index];
      const row = document.createElement("div"), name = document.createElement("span"), text = document.createElement("span");
      row.className = line.colour;
      name.textContent = line.label;
      text.textContent = value === null || value === undefined ? "–" : show[data.unit](value);
      row.append(name, text);
      tip.append(row);
    }
    tip.hidden = false;
    const width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(8, x + 16 + width > innerWidth ? x - 16 - width : x + 16) + "px";
    tip.style.top = Math.max(8, Math.min(y + 14, innerHeight - height - 8)) + "px";
  };
  for (const plot of plots) {
    plot.canvas.addEventListener("pointermove", (event) => {
      const box = plot.canvas.getBoundingClientRect();
      point(plot, nearest(load(plot).at, (event.clientX - box.left) / box.width), event.clientX, event.clientY);
    });
    plot.canvas.addEventListener("pointerleave", hide);
    plot.canvas.addEventListener("blur", hide);
    plot.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const at = load(plot).at, box = plot.canvas.getBoundingClientRect();
      const index = Math.max(0, Math.min(at.length - 1, plot.index + step));
      point(plot, index, box.left + at[index] * box.width, box.top + box.height / 3);
    });
  }

  document.addEventListener("click", (event) => {
    const code = event.target.closest?.("[data-copy]");
    if (!code || !navigator.clipboard) return;
    navigator.clipboard.writeText(code.dataset.copy).then(() => {
      code.classList.add("copied");
      setTimeout(() => code.classList.remove("copied"), 900);
    }, () => {});
  });
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.style.colorScheme = now === "dark" ? "light" : "dark";
  });
  // Paper shows everything.
  addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details")) details.open = true; });
})();
