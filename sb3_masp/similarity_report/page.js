"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const { names, labels, order, forks } = data;
  const n = names.length;
  const bytes = Uint8Array.from(atob(data.values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const value = (row, column) => view.getFloat32(4 * (row * n + column), true);
  const place = [];
  order.forEach((action, index) => { place[action] = index; });

  const byId = (id) => document.getElementById(id);
  const canvas = byId("map"), pen = canvas.getContext("2d");
  const size = byId("size"), find = byId("find"), tip = byId("tip");
  const TREE = 80, GAP = 6;
  let chosen = null, cursor = null; // an action; places of a row and a column

  const show = (number) => String(Number(number.toPrecision(3)));
  const colourAt = (share) => {
    const at = 6 * Math.round(255 * Math.min(1, Math.max(0, share)));
    return "#" + data.colours.slice(at, at + 6);
  };
  const colour = (entry) => {
    const share = Math.max(0, (entry - data.low) / (data.high - data.low));
    return colourAt(data.root ? Math.sqrt(share) : share);
  };
  const nearest = (row) => order
    .filter((other) => other !== row)
    .sort((one, other) => value(row, other) - value(row, one) || one - other);
  const closest = order.length > 1 ? names.map((_, row) => nearest(row)[0]) : [];

  // Cells are drawn once, a pixel each, and enlarged without smoothing.
  const cells = document.createElement("canvas");
  cells.width = cells.height = n;
  {
    const brush = cells.getContext("2d");
    order.forEach((row, down) => order.forEach((column, across) => {
      if (row === column && value(row, column) === 0) return;
      brush.fillStyle = colour(value(row, column));
      brush.fillRect(across, down, 1, 1);
    }));
  }

  const cellSize = () => Math.min(Number(size.value), Math.floor(12000 / n));
  function fitted() {
    const free = canvas.parentElement.clientWidth - TREE - GAP - 150;
    // Of up to 160 actions all are named, even if the map must be scrolled.
    return Math.max(n > 160 ? 3 : 7, Math.min(40, Math.floor(2 * free / n) / 2));
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--text"), mark = style.getPropertyValue("--mark");
    const cell = cellSize();
    const type = Math.min(12, Math.max(7, cell - 0.5));
    const every = Math.ceil(type / cell);
    pen.font = `${type}px system-ui, sans-serif`;
    const label = Math.ceil(Math.max(...labels.map((text) => pen.measureText(text).width))) + 12;
    const side = cell * n, width = TREE + GAP + side + label, height = side + label;
    const dense = Math.min(window.devicePixelRatio || 1, 12000 / width);
    canvas.width = Math.ceil(width * dense);
    canvas.height = Math.ceil(height * dense);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.font = `${type}px system-ui, sans-serif`;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(cells, TREE + GAP, 0, side, side);

    pen.strokeStyle = ink;
    pen.lineWidth = 0.8;
    const tallest = Math.max(...forks.map((fork) => fork[3])) || 1;
    const x = (tall) => TREE * (1 - 0.97 * tall / tallest), y = (leaf) => (leaf + 0.5) * cell;
    pen.beginPath();
    for (const [first, second, low, tall, high] of forks) {
      pen.moveTo(x(low), y(first));
      pen.lineTo(x(tall), y(first));
      pen.lineTo(x(tall), y(second));
      pen.lineTo(x(high), y(second));
    }
    pen.stroke();

    // Names that are pointed at or chosen are always there, and push others aside.
    const named = (at, wanted) => wanted.includes(at)
      || (at % every === 0 && wanted.every((one) => Math.abs(one - at) >= every));
    const own = chosen === null ? [] : [place[chosen]];
    const rows = cursor === null ? own : [...own, cursor.row];
    const columns = cursor === null ? own : [...own, cursor.column];
    pen.textBaseline = "middle";
    for (let at = 0; at < n; at += 1) {
      pen.fillStyle = own.includes(at) ? mark : ink;
      if (named(at, rows)) pen.fillText(labels[order[at]], TREE + GAP + side + 5, y(at));
      if (!named(at, columns)) continue;
      pen.save();
      pen.translate(TREE + GAP + y(at), side + 5);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "right";
      pen.fillText(labels[order[at]], 0, 0);
      pen.restore();
    }
    pen.strokeStyle = mark;
    pen.lineWidth = 2;
    if (chosen !== null) {
      pen.strokeRect(TREE + GAP, place[chosen] * cell, side, cell);
      pen.strokeRect(TREE + GAP + place[chosen] * cell, 0, cell, side);
    }
    if (cursor !== null) {
      for (const [thick, tint] of [[4, "white"], [2, "black"]]) {
        pen.lineWidth = thick;
        pen.strokeStyle = tint;
        pen.strokeRect(TREE + GAP + cursor.column * cell, cursor.row * cell, cell, cell);
      }
    }
  }

  function make(tag, text, ...children) {
    const element = document.createElement(tag);
    if (text !== null) element.textContent = text;
    element.append(...children);
    return element;
  }
  const strip = (action) => document.querySelector(`#row${action} th .strip`).cloneNode(true);
  const against = (row, entry) => {
    const uniform = data.uniform[row];
    return uniform > 0 ? `${show(entry)} (${show(entry / uniform)} × the row's mean)` : show(entry);
  };

  function point(row, column) {
    cursor = row === null ? null : { row, column };
    if (cursor !== null) {
      const [one, other] = [order[row], order[column]];
      byId("pair").textContent =
        `${names[one]} by ${names[other]}: ${against(one, value(one, other))}`;
    }
    draw();
  }

  function entries(row, actions, entry) {
    const largest = Math.max(...actions.map((action) => Math.abs(entry(action)))) || 1;
    return actions.map((action) => {
      const bar = document.createElement("i");
      bar.style.setProperty("--share", `${100 * Math.abs(entry(action)) / largest}%`);
      const button = make("button", null, strip(action), make("span", labels[action]),
        make("b", show(entry(action))), bar);
      button.type = "button";
      button.title = names[action];
      button.dataset.action = action;
      return make("li", null, button);
    });
  }

  function choose(action) {
    for (const row of document.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
    chosen = action;
    const title = make("h3", action === null ? "No action is chosen" : names[action]);
    title.id = "chosen-title";
    const parts = [title];
    if (action !== null) {
      byId(`row${action}`).classList.add("chosen");
      parts.push(make("p", null, strip(action)), make("h4", "Nearest others"));
      const near = nearest(action).slice(0, 10);
      parts.push(make("ol", null, ...entries(action, near, (other) => value(action, other))));
      const back = names.map((_, other) => other).filter((other) => closest[other] === action);
      if (back.length) {
        parts.push(make("h4", "Nearest to these"));
        parts.push(make("ul", null, ...entries(action, back, (other) => value(other, action))));
      }
    }
    byId("chosen").replaceChildren(...parts);
    draw();
  }

  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const cell = cellSize();
    const column = Math.floor((event.clientX - box.left - TREE - GAP) / cell);
    const row = Math.floor((event.clientY - box.top) / cell);
    if (row < 0 || row >= n) return null;
    return { row, column: column >= 0 && column < n ? column : null };
  }

  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (cell === null || cell.column === null) return leave();
    point(cell.row, cell.column);
    const [one, other] = [order[cell.row], order[cell.column]];
    tip.replaceChildren(
      make("div", null, strip(one), make("span", names[one])),
      make("div", null, make("span", "by"), strip(other), make("span", names[other])),
      make("div", null, make("b", against(one, value(one, other)))),
    );
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 16, innerWidth - box.width - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 16, innerHeight - box.height - 8)}px`;
  });
  function leave() {
    tip.hidden = true;
    if (cursor !== null) point(null);
  }
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell !== null) choose(order[cell.row]);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const { row, column } = cursor || { row: 0, column: 0 };
    const inside = (index) => Math.min(n - 1, Math.max(0, index));
    if (step) point(...(cursor ? [inside(row + step[0]), inside(column + step[1])] : [0, 0]));
    else if (event.key === "Enter") choose(order[row]);
    else if (event.key === "Escape") { choose(null); point(null); } else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-action]");
    if (target) choose(Number((event.target.closest("button, td") || target).dataset.action));
  });
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    names.forEach((name, action) => {
      byId(`row${action}`).hidden = !`${name} ${labels[action]}`.toLowerCase().includes(wanted);
    });
    const exact = names.findIndex((name) => name.toLowerCase() === wanted);
    if (exact >= 0) choose(exact);
  });
  find.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !find.value.trim()) return;
    const first = names.findIndex((_, action) => !byId(`row${action}`).hidden);
    if (first >= 0) choose(first);
  });
  size.addEventListener("input", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  for (const figure of document.querySelectorAll("figure[data-column]")) {
    const curve = figure.querySelector("svg"), output = figure.querySelector("output");
    const known = data.history.filter((row) => row[figure.dataset.column] !== null);
    const last = data.history[data.history.length - 1][0] || 1;
    curve.addEventListener("pointermove", (event) => {
      const box = curve.getBoundingClientRect();
      const across = ((event.clientX - box.left) / box.width * 360 - 46) / (360 - 46 - 8) * last;
      const row = known.reduce((best, one) =>
        Math.abs(one[0] - across) < Math.abs(best[0] - across) ? one : best);
      output.textContent = `${show(row[figure.dataset.column])} at ${row[0].toLocaleString("en")}`;
    });
    curve.addEventListener("pointerleave", () => { output.textContent = ""; });
  }

  byId("low").textContent = `≤ ${show(data.low)}`;
  byId("high").textContent = `≥ ${show(data.high)}`;
  byId("scale").setAttribute("aria-label", `Colours from ${show(data.low)} to ${show(data.high)}`);
  byId("ramp").style.background = `linear-gradient(to right, ${
    Array.from({ length: 17 }, (_, step) => colour(data.low + step / 16 * (data.high - data.low)))})`;
  size.value = fitted();
  draw();
}
