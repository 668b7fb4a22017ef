// Points in the plane, and codes to drag among them: cells, errors and copied gradients are computed as they move.
start(() => {
  const { points, reach } = data, codes = data.codes.map((code) => [...code]), wish = [...data.wish];
  const size = 400, at = ([x, y]) => [((x + reach) / (2 * reach)) * size, ((reach - y) / (2 * reach)) * size];
  const pairs = (corners) => corners.map((corner) => at(corner).map((v) => v.toFixed(1)).join(",")).join(" ");
  const cells = draw("g"), marks = draw("g"), arrows = draw("g"), handles = draw("g");
  const svg = draw("svg", { viewBox: `0 0 ${size} ${size}`, style: "overflow: hidden", role: "group", "aria-label": "points, codes and their cells" },
    draw("rect", { width: size, height: size, fill: "none", stroke: "currentColor", "stroke-opacity": 0.4 }),
    cells, marks, arrows, handles);
  const what = choice("arrows", ["copied gradients (straight-through)", "true gradients, without quantizing", "errors of quantizing", "none"], 0, () => show());
  const said = make("p", { class: "said", role: "status" });

  const distance = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;
  const nearest = (point) => codes.reduce((best, code, k) => (distance(point, code) < distance(point, codes[best]) ? k : best), 0);

  // The square, less the half of the plane that is nearer to another code, for each other code in turn.
  function cell(k) {
    let corners = [[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]];
    for (const other of codes) {
      if (other === codes[k]) continue;
      const side = (p) => distance(p, other) - distance(p, codes[k]); // above 0: nearer to code k; linear in p
      corners = corners.flatMap((p, i) => {
        const q = corners[(i + 1) % corners.length], a = side(p), b = side(q);
        const kept = a >= 0 ? [p] : [];
        if (a * b < 0) kept.push([0, 1].map((d) => p[d] + ((q[d] - p[d]) * a) / (a - b)));
        return kept;
      });
    }
    return corners;
  }

  function arrow(from, step, colour) {
    const [x1, y1] = at(from), [x2, y2] = at([from[0] + step[0], from[1] + step[1]]);
    const length = Math.hypot(x2 - x1, y2 - y1) || 1, [u, v] = [(x2 - x1) / length, (y2 - y1) / length];
    const wing = (turn) => `L${x2} ${y2} L${x2 - 4 * u + 2.5 * turn * v} ${y2 - 4 * v - 2.5 * turn * u} `;
    return draw("path", { d: `M${x1} ${y1} ${wing(1)}${wing(-1)}`, fill: "none", stroke: colour });
  }

  function show() {
    const chosen = points.map(nearest), colour = (k) => COLOURS[k % COLOURS.length];
    const towards = ([x, y]) => [(wish[0] - x) / 3, (wish[1] - y) / 3];
    cells.replaceChildren(...codes.map((_, k) =>
      draw("polygon", { points: pairs(cell(k)), fill: colour(k), "fill-opacity": 0.2, stroke: "currentColor", "stroke-opacity": 0.35 })));
    marks.replaceChildren(...points.map((point, i) => {
      const [cx, cy] = at(point);
      return draw("circle", { cx, cy, r: 2.2, fill: colour(chosen[i]) });
    }));
    arrows.replaceChildren(...points.flatMap((point, i) => {
      const code = codes[chosen[i]];
      if (what.value === 0) return i % 2 ? [] : [arrow(point, towards(code), colour(chosen[i]))];
      if (what.value === 1) return i % 2 ? [] : [arrow(point, towards(point), "currentColor")];
      return what.value === 2 ? [arrow(point, [code[0] - point[0], code[1] - point[1]], colour(chosen[i]))] : [];
    }));
    const counts = codes.map((_, k) => chosen.filter((c) => c === k).length);
    const shares = counts.filter(Boolean).map((n) => n / points.length);
    const perplexity = 2 ** -shares.reduce((sum, p) => sum + p * Math.log2(p), 0);
    const error = points.reduce((sum, point, i) => sum + distance(point, codes[chosen[i]]), 0) / points.length;
    said.textContent = `mean squared error ${error.toFixed(3)}; points of each code ${counts.join(", ")}; `
      + `perplexity ${perplexity.toFixed(2)} of ${codes.length} codes`;
    [...codes, wish].forEach((place, k) => {
      const [x, y] = at(place), name = k < codes.length ? `code ${k}` : "what the decoder wishes";
      handles.children[k].setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      handles.children[k].setAttribute("aria-label", `${name}, at ${place.map((v) => v.toFixed(2)).join(", ")}; arrow keys move it`);
    });
  }

  function handle(place, shape, name) {
    const element = draw("g", { tabindex: 0, role: "button", "data-name": name, style: "cursor: grab; touch-action: none" },
      draw("circle", { r: 14, fill: "transparent" }), shape);
    const put = (x, y) => {
      [place[0], place[1]] = [x, y].map((v) => Math.max(-reach, Math.min(reach, v)));
      show();
    };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); event.preventDefault(); element.focus(); });
    element.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const { left, top, width, height } = svg.getBoundingClientRect();
      put(((event.clientX - left) / width) * 2 * reach - reach, reach - ((event.clientY - top) / height) * 2 * reach);
    });
    element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      put(place[0] + 0.1 * step[0], place[1] + 0.1 * step[1]);
    });
    return element;
  }
  const cross = () => draw("path", { d: "M-6,-6 L6,6 M-6,6 L6,-6", stroke: "currentColor", "stroke-width": 3 });
  const star = draw("path", { d: "M0,-9 2.6,-3 9,-2.6 4,1.6 5.6,8 0,4.4 -5.6,8 -4,1.6 -9,-2.6 -2.6,-3z", fill: "currentColor" });
  handles.append(...codes.map((code, k) => handle(code, cross(), `code ${k}`)), handle(wish, star, "wish"));

  // Each code to the mean of its points: one step of k-means.
  const step = make("button", { type: "button", style: "font: inherit; color: inherit; background: none; border: 1px solid currentColor; border-radius: 3px; cursor: pointer" },
    "move each code to the mean of its points");
  step.addEventListener("click", () => {
    const chosen = points.map(nearest);
    codes.forEach((code, k) => {
      const own = points.filter((_, i) => chosen[i] === k);
      if (own.length) [0, 1].forEach((d) => { code[d] = own.reduce((sum, p) => sum + p[d], 0) / own.length; });
    });
    show();
  });
  show();
  return [make("div", { style: "max-width: 460px" }, svg), said, make("div", { class: "controls" }, what.row), step];
});
