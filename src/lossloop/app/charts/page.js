// Charts of the report, drawn by uPlot from the JSON beside them. Without this script the tables say the same.
(() => {
  "use strict";
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  root.classList.add("js");

  // The browser's own clock never matters: times are seconds on the wall clock of the policy's time zone.
  const format = options => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  const day = format({ day: "numeric", month: "short" });
  const hour = format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const raised = n => [...String(n)].map(c => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  const power = v => (v >= 0.01 && v <= 10000 ? v.toLocaleString("en-GB") : "10" + raised(Math.round(Math.log10(v))));
  const evidence = v => (v < 0.001 || v >= 1e6 ? "10" + raised(Math.round(Math.log10(v))) : v >= 100 ? Math.round(v).toLocaleString("en-GB") : String(+v.toPrecision(3)));

  // Canvas knows no CSS variables: a hidden element resolves them.
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const colour = name => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const VERDICTS = ["alarm", "better"];
  const paint = role => colour(VERDICTS.includes(role) ? role + "-mark" : role);
  const fade = (rgb, share) => `rgba(${rgb.match(/[\d.]+/g).slice(0, 3)}, ${share})`;
  const sans = getComputedStyle(document.body).fontFamily;

  function draw(host) {
    const data = JSON.parse(document.getElementById(host.dataset.src).textContent);
    const strip = host.classList.contains("strip");
    const small = host.clientWidth < 560;
    const px = devicePixelRatio;
    const ink = { limit: colour("chart-limit"), ref: colour("chart-ref"), mark: colour("chart-mark"), axis: colour("chart-axis"), ink: colour("ink"), surface: colour("surface") };
    const span = data.x[data.x.length - 1] - data.x[0];
    const margin = data.x.length < 2 ? 43200 : data.marks ? Math.min(43200, Math.max(300, 0.05 * span)) : 0;   // readings of days stand at noon; an axis needs some length
    const whole = [data.x[0] - margin, data.x[data.x.length - 1] + margin];
    const { columns, series, bands } = lines(data);

    const text = (u, words, x, y, fill, align = "left", weight = 400, size = 12) => {
      const k = u.ctx;
      k.save();
      k.font = `${weight} ${size * px}px ${sans}`;
      k.textAlign = align;
      k.textBaseline = "middle";
      k.lineJoin = "round";
      k.lineWidth = 4 * px;
      k.strokeStyle = ink.surface;
      k.strokeText(words, x, y);
      k.fillStyle = fill;
      k.fillText(words, x, y);
      k.restore();
    };

    const rules = (u, spans, stroke, dash) => {
      const k = u.ctx, box = u.bbox;
      k.save();
      k.beginPath();
      k.rect(box.left, box.top, box.width, box.height);
      k.clip();
      k.strokeStyle = stroke;
      k.lineWidth = 1.4 * px;
      k.setLineDash(dash.map(d => d * px));
      for (const [from, to, y] of spans) {
        const Y = u.valToPos(y, "y", true);
        k.beginPath();
        k.moveTo(u.valToPos(from, "x", true), Y);
        k.lineTo(u.valToPos(to, "x", true), Y);
        k.stroke();
      }
      k.restore();
    };

    // Times that somebody marked: a wash behind everything.
    const washes = u => {
      const k = u.ctx, box = u.bbox;
      for (const [from, to] of data.spans ?? []) {
        const left = Math.max(u.valToPos(from, "x", true), box.left), right = Math.min(u.valToPos(to, "x", true), box.left + box.width);
        if (right <= left) continue;
        k.save();
        k.fillStyle = fade(ink.limit, 0.1);
        k.fillRect(left, box.top, right - left, box.height);
        k.restore();
      }
    };

    const pill = group => {
      const words = group.from === group.to ? String(group.from) : `${group.from}${typeof group.from === typeof group.to ? "–" : ", "}${group.to}`;
      const wide = (words.length < 3 ? 18 : 14 + 6.5 * words.length) * px;
      const left = (group.left + group.right) / 2 - wide / 2;
      return { words, wide, left, right: left + wide };
    };

    // Numbered discs; those that would overlap share one, such as "4–6", and part again when zoomed in.
    const marks = u => {
      const k = u.ctx, box = u.bbox, groups = [];
      for (const mark of data.marks ?? []) {
        const x = u.valToPos(mark.x, "x", true);
        if (x < box.left - 1 || x > box.left + box.width + 1) continue;
        const stroke = mark.role ? colour(mark.role + "-mark") : ink.mark;
        k.save();
        k.strokeStyle = fade(stroke, 0.6);
        k.lineWidth = px;
        k.setLineDash([]);   // a dashed line before it left its dashes
        k.beginPath();
        k.moveTo(x, strip ? box.top : box.top - 4 * px);
        k.lineTo(x, box.top + box.height);
        k.stroke();
        k.restore();
        const last = groups[groups.length - 1];
        if (last && x - pill(last).right < 11 * px) Object.assign(last, { to: mark.n, role: last.role === mark.role ? last.role : "", right: x });
        else groups.push({ from: mark.n, to: mark.n, role: mark.role, left: x, right: x });
      }
      if (strip) return;
      for (const group of groups) {
        const { words, wide, left } = pill(group);
        k.save();
        k.fillStyle = group.role ? colour(group.role + "-mark") : ink.mark;
        k.beginPath();
        k.roundRect(Math.min(left, k.canvas.width - wide), box.top - 22 * px, wide, 18 * px, 9 * px);
        k.fill();
        k.font = `600 ${11 * px}px ${sans}`;
        k.textAlign = "center";
        k.textBaseline = "middle";
        k.fillStyle = ink.surface;
        k.fillText(words, Math.min(left, k.canvas.width - wide) + wide / 2, box.top - 12.5 * px);
        k.restore();
      }
    };

    // A line carries its own name at its end; names that would cover each other step aside.
    const names = u => {
      const taken = [];
      for (const one of data.series) {
        if (!one.end) continue;
        let i = one.y.length - 1;
        while (i >= 0 && (one.y[i] == null || data.x[i] > u.scales.x.max)) i--;
        if (i < 0 || data.x[i] < u.scales.x.min || one.y[i] > data.y[1]) continue;
        const k = u.ctx, fill = colour(one.role + "-fg");
        k.font = `600 ${12 * px}px ${sans}`;
        const width = k.measureText(one.end).width;
        let x = u.valToPos(data.x[i], "x", true) + 6 * px, y = u.valToPos(one.y[i], "y", true);
        if (x + width > k.canvas.width - 2 * px) {
          x = k.canvas.width - 2 * px - width;
          y += (y - 22 * px < u.bbox.top ? 14 : -14) * px;   // the discs stand above
        }
        while (taken.some(t => Math.abs(t.y - y) < 14 * px && x < t.x + t.width + 4 * px && t.x < x + width + 4 * px)) y += 15 * px;
        taken.push({ x, y, width });
        text(u, one.end, x, y, fill, "left", 600);
      }
    };

    // What lies beyond the axis is named at its edge.
    const beyond = u => {
      for (const one of data.beyond ?? []) {
        const x = u.valToPos(one.x, "x", true);
        if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
        const k = u.ctx, top = u.bbox.top + 3 * px;
        k.save();
        k.fillStyle = paint(one.role);
        k.beginPath();
        k.moveTo(x, top);
        k.lineTo(x - 5 * px, top + 9 * px);
        k.lineTo(x + 5 * px, top + 9 * px);
        k.fill();
        k.restore();
        text(u, `${one.text}, off the scale`, x + 9 * px, top + 5 * px, colour(one.role + "-fg"), "left", 600);
      }
    };

    const read = document.getElementById(host.dataset.readout);
    const value = v => (data.log ? evidence(v) : data.percent ? (100 * v).toFixed(1) + "%" : v.toFixed(3));
    const say = u => {
      let i = u.cursor.idx;
      if (i == null) {
        i = data.x.length - 1;
        while (i > 0 && data.x[i] > u.scales.x.max) i--;
      }
      const when = Object.assign(document.createElement("b"), { textContent: (data.log ? hour : day).format(data.x[i] * 1000) });
      const parts = data.series.filter(one => one.y[i] != null).map(one => {
        const band = one.lo?.[i] != null ? ` [${value(one.lo[i])}, ${value(one.hi[i])}]` : "";
        return Object.assign(document.createElement("span"), { textContent: `${one.name} ${value(one.y[i])}${band}` });
      });
      read?.replaceChildren(when, ...parts);
    };

    const axis = { stroke: ink.axis, font: `12px ${sans}`, ticks: { show: false }, grid: { stroke: colour("chart-grid"), width: 1 } };
    const u = new uPlot({
      width: host.clientWidth,
      height: strip ? 74 : Math.min(+host.dataset.h, small ? 320 : Infinity),
      padding: [strip ? 8 : data.marks ? 28 : 12, small ? (strip ? 8 : 22) : 64, strip ? 8 : null, 0],
      tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { points: { show: false }, drag: { x: true, y: false }, sync: data.marks ? { key: "loss", scales: ["x", null] } : undefined },
      legend: { show: false },
      scales: { x: { time: true, range: (_, a, b) => (a == null || (a <= data.x[0] && b >= data.x[data.x.length - 1]) ? whole : [a, b]) }, y: data.log ? { distr: 3, log: 10, range: () => data.y } : { range: () => data.y } },
      axes: [
        { ...axis, show: !strip, space: small ? 60 : 80, size: 28, values: (_, ticks) => ticks.map((t, i) => (i && day.format(t * 1000) === day.format(ticks[i - 1] * 1000) || ticks.length > 1 && ticks[1] - ticks[0] < 86400 ? hour.format(t * 1000).split(", ")[1] === "00:00" ? day.format(t * 1000) : hour.format(t * 1000).split(/, /)[1] : day.format(t * 1000))) },
        { ...axis, size: 52, gap: 6, space: strip ? 24 : 36, splits: data.ticks ? () => data.ticks : undefined, filter: data.log ? (_, splits) => splits : undefined, values: (_, ticks) => ticks.map(t => (data.percent ? Math.round(t * 100) + "%" : data.log ? power(t) : t.toFixed(2))) },
      ],
      series,
      bands,
      hooks: {
        drawAxes: [u => {
          washes(u);
          if (data.refs) rules(u, data.refs, ink.ref, [2, 3]);
        }],
        draw: [u => {
          marks(u);
          if (data.limits) rules(u, data.limits, data.neutral ? ink.ink : ink.limit, data.neutral ? [] : [6, 4]);
          if (data.limitText) text(u, data.limitText, u.bbox.left + 6 * px, u.valToPos(data.limits[0][2], "y", true) - 9 * px, ink.ink);
          names(u);
          beyond(u);
        }],
        setCursor: [say],
        setScale: [(u, key) => {
          if (key === "x" && host.dataset.ready && data.marks && !strip) remember(u, whole);
        }],
      },
    }, columns, host);
    say(u);
    host.dataset.ready = "1";
    $$("canvas", u.root).forEach(canvas => canvas.setAttribute("aria-hidden", "true"));
    host.onkeydown = event => keys(event, u, data, whole);
    return { u, whole, data };
  }

  function lines(data) {
    const columns = [data.x], series = [{}], bands = [];
    for (const one of data.series) {
      const ink = paint(one.role), at = columns.length;
      columns.push(one.y);
      if (one.bars) series.push({ stroke: null, fill: fade(ink, 0.55), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 12] }) });
      else if (one.points) series.push({ stroke: ink, width: 1, points: { show: true, size: 6, fill: ink, width: 0 } });
      else series.push({ stroke: one.thin ? fade(ink, 0.5) : ink, width: one.thin ? 0.75 : 1.75, dash: one.dash ? [5, 4] : undefined, spanGaps: Boolean(data.log), points: { show: data.x.length < 2, size: 6, fill: ink, width: 0 } });
      if (one.lo) {
        series.push({ stroke: null, width: 0, points: { show: false } }, { stroke: null, width: 0, points: { show: false } });
        columns.push(one.hi, one.lo);
        bands.push({ series: [at + 1, at + 2], fill: fade(ink, 0.16) });
      }
    }
    return { columns, series, bands };
  }

  // Arrows walk the readings, + and - zoom, 0 shows all.
  function keys(event, u, data, whole) {
    const n = data.x.length, i = u.cursor.idx ?? n - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -n, End: n }[event.key];
    if (step != null) {
      const j = Math.max(0, Math.min(n - 1, i + step));
      u.setCursor({ left: u.valToPos(data.x[j], "x"), top: 10 }, true, true);
      event.preventDefault();
    }
    const wide = u.scales.x.max - u.scales.x.min;
    const middle = u.posToVal(u.cursor.left > 0 ? u.cursor.left : u.over.clientWidth / 2, "x");
    if (event.key === "+" || event.key === "=") zoom(u, Math.max(whole[0], middle - wide / 4), Math.min(whole[1], middle + wide / 4), data);
    if (event.key === "-") zoom(u, Math.max(whole[0], middle - wide), Math.min(whole[1], middle + wide), data);
    if (event.key === "0") zoom(u, ...whole, data);
  }

  const hosts = $$(".plot[data-src]").filter(host => JSON.parse(document.getElementById(host.dataset.src).textContent).x.length);
  let live = [];
  const zoom = (u, min, max, data) => {
    for (const other of data.marks ? live.filter(one => one.data.marks).map(one => one.u) : [u]) other.setScale("x", { min, max });
  };

  // The address names the view, so that a link shows the same span.
  const stamp = seconds => new Date(seconds * 1000).toISOString().slice(0, 10);
  function remember(u, whole) {
    const all = u.scales.x.min <= whole[0] && u.scales.x.max >= whole[1];
    const days = all ? "all" : u.scales.x.max === whole[1] ? String((whole[1] - u.scales.x.min) / 86400) : "";
    $$("[data-days]").forEach(button => button.setAttribute("aria-pressed", String(button.dataset.days === days)));
    try {
      history.replaceState(null, "", all ? "#" : `#from=${stamp(u.scales.x.min)}&to=${stamp(u.scales.x.max)}`);
    } catch { /* a sandboxed page has no address of its own */ }
  }
  function recall() {
    const found = /^#from=([\d-]+)&to=([\d-]+)$/.exec(location.hash);
    const first = found && live.find(one => one.data.marks);
    const [min, max] = (found?.slice(1) ?? []).map(text => Date.parse(text) / 1000);
    if (first && max > min) zoom(first.u, min, max, first.data);
  }

  const all = () => {
    live.forEach(one => one.u.destroy());
    live = hosts.map(draw);
  };
  all();
  recall();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    all();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);

  $$("[data-days]").forEach(button => button.addEventListener("click", () => {
    const shown = live.find(one => one.data.marks);
    if (!shown) return;
    const { u, whole, data } = shown;
    zoom(u, button.dataset.days === "all" ? whole[0] : whole[1] - button.dataset.days * 86400, whole[1], data);
  }));

  document.querySelector("[data-theme-toggle]").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    all();
  });

  $$("[data-csv]").forEach(button => button.addEventListener("click", () => {
    const rows = $$("tr", document.getElementById(`table-${button.dataset.csv}`));
    const cell = one => `"${one.textContent.trim().replaceAll('"', '""')}"`;
    const text = rows.map(row => [...row.cells].map(cell).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }));
})();
