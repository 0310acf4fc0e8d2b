"use strict";
(async () => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const make = (tag, props, ...children) => {
    const node = Object.assign(document.createElement(tag), props || {});
    node.append(...children);
    return node;
  };
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const canUnpack = typeof DecompressionStream === "function";

  // ---- theme -------------------------------------------------------------------------------------------------------
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("seatrial-theme"); } catch { return null; } };
  if (remembered()) root.dataset.theme = remembered();
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("seatrial-theme", root.dataset.theme); } catch { /* a private window keeps nothing */ }
    redraw();
  });
  prefersDark.addEventListener("change", () => redraw());

  // ---- data --------------------------------------------------------------------------------------------------------
  const holder = $("payload");
  if (holder.type === "application/gzip" && !canUnpack) {
    $("shown").textContent = "This browser is too old to unpack the table and the plots.";
    return;
  }
  const data = JSON.parse(holder.type === "application/gzip" ? await unpack(holder.textContent) : holder.textContent);

  // ---- numbers in words --------------------------------------------------------------------------------------------
  const seconds = (value) => {
    if (value < 9.95) return `${Number(value.toPrecision(2))} s`;
    const whole = Math.round(value);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  };
  const show = (value, kind) => {
    if (value === null) return "–";
    if (typeof value === "number" && kind === "seconds") return seconds(value);
    if (typeof value === "number" && !Number.isInteger(value)) {
      return Math.abs(value) < 1e-3 ? value.toExponential(3).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(5)));
    }
    return String(value);
  };

  // ---- table -------------------------------------------------------------------------------------------------------
  const { columns, rows } = data.table;
  const shownColumns = columns.map((column, i) => ({ ...column, i })).filter((column) => column.shown);
  const byIndex = new Map(rows.map((row) => [row[0], row]));
  const haystack = rows.map((row) => row.map((cell) => (cell === null ? "" : String(cell))).join("\u0001").toLowerCase());
  const winner = document.querySelector("#result .link");
  const best = winner ? Number(winner.dataset.trial) : -1;
  const states = [...new Set(rows.map((row) => row[1]))];
  const hidden = new Set();
  const view = { sort: 0, down: false, page: 0, size: 50, found: rows.map((_, i) => i) };

  const rank = (cell) => (cell === null || cell === "NaN" ? 2 : typeof cell === "number" ? 0 : 1);
  const compare = (a, b) => {
    const [x, y] = [rows[a][view.sort], rows[b][view.sort]];
    const [p, q] = [rank(x), rank(y)];
    if (p !== q) return p - q;                       // what is missing comes last, whichever way
    const order = p === 2 ? 0 : p === 0 ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return (view.down ? -order : order) || a - b;
  };
  const refresh = () => {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    view.found = rows.map((_, i) => i).filter((i) => !hidden.has(rows[i][1]) && words.every((word) => haystack[i].includes(word)));
    view.found.sort(compare);
    view.page = Math.min(view.page, Math.max(0, Math.ceil(view.found.length / view.size) - 1));
    drawTable();
  };
  const cellOf = (row, column) => {
    const value = row[column.i];
    const cell = make("td", { className: column.kind === "number" || column.kind === "seconds" ? "n" : "" });
    if (value === null) { cell.classList.add("none"); cell.textContent = "–"; return cell; }
    if (column.kind === "state") cell.append(make("i", { className: `dot ${String(value).toLowerCase()}` }));
    cell.append(show(value, column.kind));
    if (column.role === "words" || typeof value === "string") cell.title = String(value);
    return cell;
  };
  const drawHead = () => {
    $("trials").tHead.replaceChildren(make("tr", {}, ...shownColumns.map((column) => {
      const button = make("button", { type: "button", textContent: column.label });
      button.addEventListener("click", () => {
        view.down = view.sort === column.i ? !view.down : false;
        view.sort = column.i;
        view.page = 0;
        refresh();
      });
      const head = make("th", { scope: "col", className: column.kind === "number" || column.kind === "seconds" ? "n" : "" }, button);
      if (view.sort === column.i) head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      return head;
    })));
  };
  const drawTable = () => {
    drawHead();
    const from = view.page * view.size;
    const part = view.found.slice(from, from + view.size);
    $("trials").tBodies[0].replaceChildren(...part.map((i) => {
      const line = make("tr", {}, ...shownColumns.map((column) => cellOf(rows[i], column)));
      line.dataset.trial = rows[i][0];
      if (rows[i][0] === best) line.classList.add("best");
      return line;
    }));
    const total = rows.length.toLocaleString("en");
    $("shown").textContent = view.found.length === rows.length ? `${total} trials` : `${view.found.length.toLocaleString("en")} of ${total} trials`;
    const pages = Math.ceil(view.found.length / view.size);
    const turn = (label, by) => {
      const button = make("button", { type: "button", textContent: label, disabled: view.page + by < 0 || view.page + by >= pages });
      button.addEventListener("click", () => { view.page += by; drawTable(); });
      return button;
    };
    $("pages").replaceChildren(...(pages > 1
      ? [turn("Back", -1), make("span", { textContent: `${from + 1}–${from + part.length}, page ${view.page + 1} of ${pages}` }), turn("Next", 1)]
      : []));
  };
  $("filter").addEventListener("input", () => { view.page = 0; refresh(); });
  $("states").replaceChildren(...(states.length > 1 ? states : []).map((state) => {
    const count = rows.filter((row) => row[1] === state).length;
    const chip = make("button", { type: "button" }, make("i", { className: `dot ${state.toLowerCase()}` }), `${state} ${count}`);
    chip.setAttribute("aria-pressed", "true");
    chip.addEventListener("click", () => {
      if (!hidden.delete(state)) hidden.add(state);
      chip.setAttribute("aria-pressed", String(!hidden.has(state)));
      view.page = 0;
      refresh();
    });
    return chip;
  }));
  $("download").addEventListener("click", () => {
    const quote = (cell) => {
      if (cell === null) return "";
      // A spreadsheet must not take a text for a formula.
      const text = typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) && Number.isNaN(Number(cell)) ? `'${cell}` : String(cell);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [columns.map((column) => quote(column.label)), ...view.found.map((i) => rows[i].map(quote))];
    const url = URL.createObjectURL(new Blob([lines.map((line) => line.join(",")).join("\r\n")], { type: "text/csv" }));
    make("a", { href: url, download: `${data.study}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });

  // ---- one trial ---------------------------------------------------------------------------------------------------
  const openTrial = (index) => {
    const row = byIndex.get(index);
    if (!row) return;
    const pairs = (chosen) => columns.map((column, i) => [column, row[i]])
      .filter(([column, value]) => chosen(column) && value !== null && value !== "");
    const list = (name, chosen) => make("dl", { className: name }, ...pairs(chosen).map(([column, value]) =>
      make("div", {}, make("dt", { textContent: column.label }), make("dd", { textContent: column.kind === "seconds" ? seconds(value) : String(value) }))));
    const rest = make("dl", { className: "rest" }, ...pairs((c) => (!c.shown && !c.role) || c.kind === "seconds" || (c.kind === "number" && !c.role)).flatMap(([column, value]) =>
      [make("dt", { textContent: column.label }), make("dd", { textContent: show(value, column.kind) })]));
    const words = columns.findIndex((column) => column.role === "words");
    $("trial-body").replaceChildren(
      make("h3", { textContent: `Trial ${index}` }),
      make("p", { className: "aid" }, make("i", { className: `dot ${row[1].toLowerCase()}` }), `${row[1]}. ${row[words]}`),
      list("parameters", (column) => column.role === "objective"),
      make("h4", { textContent: "Parameters" }), list("parameters", (column) => column.role === "parameter"),
      make("h4", { textContent: "Everything else" }), rest);
    if (!$("trial").open) $("trial").showModal();
  };
  document.addEventListener("click", (event) => {
    const source = event.target.closest("[data-trial]");
    if (source) openTrial(Number(source.dataset.trial));
    if (event.target === $("trial")) $("trial").close();
    const copy = event.target.closest("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => { copy.textContent = "Copied"; }, () => {});
  });
  refresh();
  root.dataset.ready = "table";

  // ---- plots -------------------------------------------------------------------------------------------------------
  const spots = [...document.querySelectorAll(".plot")];
  const drawn = new Map();
  const chosen = {};
  const css = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const recolor = (value) => {
    if (typeof value === "string") return data.dark[value] ?? value;
    if (Array.isArray(value)) return value.map(recolor);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolor(item)]));
    return value;
  };
  const narrow = () => innerWidth < 700;
  const figureOf = (spot) => {
    const choice = data.plots[spot.dataset.plot][chosen[spot.dataset.plot] ?? 0];
    const picked = narrow() && choice.tall ? choice.tall : choice.wide;
    const bare = { layout: picked.layout, data: picked.data ?? data.plots[spot.dataset.plot][0].wide.data };
    const figure = isDark() ? recolor(bare) : structuredClone(bare);
    const layout = figure.layout;
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 12, color: css("soft") };
    layout.hoverlabel = { bgcolor: css("ink"), bordercolor: css("ink"), font: { color: css("card"), size: 12 } };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: css("line"), activecolor: css("accent") };
    layout.dragmode = narrow() ? false : "zoom";
    if (narrow() && figure.data.reduce((count, trace) => count + (trace.type === "bar" && trace.text?.length || 0), 0) > 20) {
      for (const trace of figure.data) delete trace.text;                  // numbers in bars this thin are a smear
    }
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)).concat(["xaxis", "yaxis"])) {
      layout[name] = { gridcolor: css("grid"), zeroline: false, linecolor: css("line"), automargin: true, ...layout[name] };
    }
    return figure;
  };
  const config = {
    responsive: true, displaylogo: false, displayModeBar: "hover", scrollZoom: false, showTips: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "pan2d", "autoScale2d"],
  };
  const draw = async (spot) => {
    const figure = figureOf(spot);
    spot.classList.remove("waiting");
    if (!drawn.has(spot)) spot.replaceChildren();
    spot.style.height = `${figure.layout.height}px`;
    drawn.set(spot, narrow());
    await Plotly.react(spot, figure.data, figure.layout, { ...config, displayModeBar: narrow() || spot.closest(".slice") ? false : "hover" });
    if (!spot.dataset.listens) {
      spot.dataset.listens = "yes";
      spot.on("plotly_click", (event) => {
        const index = event.points[0]?.customdata;
        if (typeof index === "number") openTrial(index);
      });
    }
  };
  const redraw = () => { for (const spot of drawn.keys()) draw(spot); };
  for (const spot of spots) { spot.classList.add("waiting"); spot.textContent = "Drawing …"; }
  if (!canUnpack) {
    for (const spot of spots) spot.textContent = "This browser is too old to draw the plots; the tables are complete.";
    return;
  }
  for (const select of document.querySelectorAll("select[data-for]")) {
    select.addEventListener("change", () => {
      chosen[select.dataset.for] = Number(select.value);
      const spot = spots.find((other) => other.dataset.plot === select.dataset.for);
      if (drawn.has(spot)) draw(spot);
    });
  }
  const program = document.createElement("script");
  program.textContent = await unpack($("plotly").textContent);
  document.head.append(program);
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      if (!drawn.has(entry.target)) draw(entry.target);
    }
  }, { rootMargin: "800px" });
  for (const spot of spots) near.observe(spot);
  const drawAll = async () => { for (const spot of spots) if (!drawn.has(spot)) await draw(spot); };
  addEventListener("beforeprint", drawAll);
  addEventListener("resize", () => { for (const [spot, was] of drawn) if (was !== narrow()) draw(spot); });
  window.seatrial = { drawAll };
  root.dataset.ready = "plots";
})();
