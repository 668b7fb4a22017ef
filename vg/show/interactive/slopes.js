// ALiBi: what a slope leaves of a key at a distance, along the stream and in the grid of tokens.
start(() => {
  const { grid: [h, w], span, heads } = data, frame = h * w, reach = span * frame;
  const [wide, tall, margin] = [420, 170, 30], menu = ["of your own", ...heads.map(({ name }) => name)];
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img" });
  const text = (k) => (k < 1 ? "1/" + (2 ** -k).toFixed(0) : String(2 ** k));
  const head = choice("head", menu, data.start + 1, () => {
    if (head.value) slope.value = Math.log2(heads[head.value - 1].slope);
    show();
  });
  const slope = slider("slope", { min: -15, max: 0, step: "any", value: Math.log2(heads[data.start].slope), text }, () => { head.value = 0; show(); });
  const place = slider("place of the query", { max: frame - 1, value: data.place, text: (k) => `${Math.floor(k / w)}, ${k % w}` }, () => show());
  const maps = [...Array(span).keys()].map(() => figure(w, h, Math.max(2, Math.round(110 / w))));
  const said = make("p", { class: "said", role: "status" });
  const x = (d) => margin + (d / reach) * (wide - margin - 4), y = (v) => 8 + (1 - v) * (tall - margin - 8);

  function line(value, attributes) {
    const steps = [...Array(201).keys()].map((i) => (i / 200) ** 2 * reach);
    const d = "M" + steps.map((s) => `${x(s).toFixed(1)} ${y(Math.exp(-value * s)).toFixed(1)}`).join("L");
    return draw("path", { d, fill: "none", ...attributes });
  }

  function show() {
    const value = 2 ** slope.value, query = (span - 1) * frame + place.value;
    svg.replaceChildren(draw("path", { d: `M${margin} 8 V${tall - margin} H${wide - 4}`, fill: "none", stroke: "currentColor", "stroke-opacity": 0.5 }),
      ...[...Array(span + 1).keys()].map((k) => draw("text", { x: x(k * frame), y: tall - margin + 14, "text-anchor": "middle" }, k)),
      draw("text", { x: wide / 2, y: tall - 2, "text-anchor": "middle" }, "distance in latent frames"),
      ...[0, 0.5, 1].map((v) => draw("text", { x: margin - 4, y: y(v) + 4, "text-anchor": "end" }, v)),
      ...heads.map((one) => line(one.slope, { stroke: "currentColor", "stroke-opacity": 0.3 })),
      line(value, { stroke: COLOURS[1], "stroke-width": 2.5 }));
    svg.setAttribute("aria-label", `weight left against distance, slope ${text(slope.value)}`);
    maps.forEach(({ context, say }, t) => {
      const pixels = context.createImageData(w, h);
      for (let k = 0; k < frame; k++) {
        const away = query - (t * frame + k), weight = away < 0 ? 0 : Math.exp(-value * away);
        const colour = away < 0 ? [138, 138, 138] : away === 0 ? [58, 134, 200] : [255 * weight, 150 * weight, 30 * weight];
        pixels.data.set([...colour, 255], 4 * k);
      }
      context.putImageData(pixels, 0, 0);
      say(t === span - 1 ? "this latent frame" : `${span - 1 - t} back`);
    });
    const back = Math.exp(-value * frame);
    said.textContent = `A key counts a twentieth after ${(3 / value).toFixed(0)} tokens, ${(3 / value / frame).toFixed(2)} latent frames; `
      + `the same place one latent frame back counts ${back < 0.001 ? back.toExponential(1) : back.toFixed(3)} of one next door.`;
  }
  show();
  return [
    make("figure", { style: "width: 460px" }, make("figcaption", {}, "weight left by the bias; thin: the heads in the menu"), svg),
    make("div", { class: "pictures" }, ...maps.map(({ box }) => box)),
    said,
    make("div", { class: "controls" }, head.row, slope.row, place.row),
  ];
});
