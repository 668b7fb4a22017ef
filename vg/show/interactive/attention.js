// What each head of a layer looks at, for a chosen query: weights painted over the frames, a row for each head.
start((frames, maps) => {
  const { queries, layers, heads, shares, tubelet: [h, w] } = data, span = data.frames;
  const query = slider("query", { max: queries.length - 1, value: data.query, text: (k) => `row ${queries[k][1]}, column ${queries[k][2]}` }, () => show());
  const layer = slider("layer", { max: layers - 1, value: data.layer }, () => show());
  const scratch = make("canvas", { width: frames.width, height: frames.height }).getContext("2d");
  const rows = heads.map((name) => ({ name, cells: [...Array(span).keys()].map(() => figure(frames.width, frames.height, 1.7)) }));

  function show() {
    const [t, i, j] = queries[query.value];
    rows.forEach(({ name, cells }, n) => cells.forEach(({ context, say }, k) => {
      const number = (query.value * layers + layer.value) * heads.length + n;
      scratch.globalCompositeOperation = "source-over";
      scratch.imageSmoothingEnabled = false;
      maps.paint(scratch, number * span + k, { w: frames.width, h: frames.height });
      scratch.globalCompositeOperation = "multiply";
      scratch.fillStyle = "#ff9a30";
      scratch.fillRect(0, 0, frames.width, frames.height);
      context.globalCompositeOperation = "source-over";
      frames.paint(context, k);
      context.fillStyle = "rgba(0, 0, 0, 0.55)";
      context.fillRect(0, 0, frames.width, frames.height);
      context.globalCompositeOperation = "lighter";
      context.drawImage(scratch.canvas, 0, 0);
      context.globalCompositeOperation = "source-over";
      if (k === t) {
        context.strokeStyle = "#4fc3ff";
        context.strokeRect(j * w - 0.5, i * h - 0.5, w + 1, h + 1);
      }
      const share = shares[number][k];
      say(`${share} %`, `${name}, layer ${layer.value}: ${share} % of the attention goes to latent frame ${k}`);
    }));
  }

  // Click a frame to choose the query that lies nearest.
  for (const { cells } of rows)
    for (const { frame } of cells) {
      frame.style.cursor = "crosshair";
      frame.addEventListener("click", (event) => {
        const { left, top, width, height } = frame.getBoundingClientRect();
        const i = ((event.clientY - top) / height) * (frames.height / h) - 0.5, j = ((event.clientX - left) / width) * (frames.width / w) - 0.5;
        const far = ([, a, b]) => (a - i) ** 2 + (b - j) ** 2;
        query.value = queries.reduce((best, place, k) => (far(place) < far(queries[best]) ? k : best), 0);
        show();
      });
    }
  show();
  const columns = `display: grid; gap: 2px 6px; align-items: center; max-width: ${span * 115 + 90}px; grid-template-columns: minmax(3.5em, 84px) repeat(${span}, minmax(0, 1fr))`;
  const table = make("div", { style: columns }, make("span"),
    ...[...Array(span).keys()].map((k) => make("span", { style: "text-align: center" }, k === queries[0][0] ? "the query's frames" : `${queries[0][0] - k} back`)),
    ...rows.flatMap(({ name, cells }) => [make("span", {}, name), ...cells.map(({ box }) => box)]));
  return [table, make("div", { class: "controls" }, query.row, layer.row)];
}, data.sheet, data.maps);
