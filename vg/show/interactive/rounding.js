// One number through FSQ: squashed, stretched, rounded; and how often each level is used for a normal z.
start(() => {
  const [wide, tall, margin] = [300, 170, 34]; // room for "0.25"
  const curve = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img" });
  const bars = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img" });
  const levels = slider("levels", { min: 3, max: 16, value: data.levels }, () => show());
  const width = slider("width of z", { min: 0.1, max: 3, step: 0.05, value: data.width, text: (v) => v.toFixed(2) }, () => show());
  const z = slider("z", { min: -4, max: 4, step: 0.05, value: data.z, text: (v) => v.toFixed(2) }, () => show());
  const said = make("p", { class: "said", role: "status" });

  // Abramowitz and Stegun, 7.1.26: the error is below 2e-7.
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const rest = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return Math.sign(x) * (1 - rest * Math.exp(-x * x));
  }

  function fsq(count) {
    const half = ((count - 1) * 1.001) / 2, offset = count % 2 ? 0 : 0.5, shift = Math.atanh(offset / half);
    const low = -Math.floor(count / 2);
    return {
      low,
      bend: (x) => Math.tanh(x + shift) * half - offset,
      border: (whole) => Math.atanh((whole + 0.5 + offset) / half) - shift, // between `whole` and the level above it
    };
  }

  function axes(svg, xs, ys, x, y) {
    svg.replaceChildren(draw("path", { d: `M${margin} 8 V${tall - margin} H${wide - 4}`, fill: "none", stroke: "currentColor", "stroke-opacity": 0.5 }),
      ...xs.map(([v, words]) => draw("text", { x: x(v), y: tall - margin + 14, "text-anchor": "middle" }, words)),
      ...ys.map(([v, words]) => draw("text", { x: margin - 4, y: y(v) + 4, "text-anchor": "end" }, words)));
  }

  function show() {
    const count = levels.value, { low, bend, border } = fsq(count);
    const whole = Math.round(bend(z.value)), digit = whole - low, code = whole / Math.floor(count / 2);
    const x = (v) => margin + ((v + 4) / 8) * (wide - margin - 4), y = (v) => tall - margin - 8 - ((v - low) / (count - 1)) * (tall - margin - 22);
    const every = count > 9 ? 3 : 1, names = [...Array(count).keys()];
    axes(curve, [-4, -2, 0, 2, 4].map((v) => [v, v]), names.filter((d) => d % every === 0).map((d) => [d + low, d]), x, y);
    const grid = [...Array(321).keys()].map((i) => -4 + i / 40);
    const path = (f) => "M" + grid.map((v) => `${x(v).toFixed(1)} ${y(f(v)).toFixed(1)}`).join("L");
    curve.append(draw("path", { d: path(bend), fill: "none", stroke: "currentColor", "stroke-opacity": 0.5 }),
      draw("path", { d: path((v) => Math.round(bend(v))), fill: "none", stroke: COLOURS[0], "stroke-width": 2 }),
      draw("path", { d: `M${x(z.value)} ${tall - margin} V${y(bend(z.value))} V${y(whole)} H${margin}`, fill: "none", stroke: COLOURS[1], "stroke-dasharray": "3 2" }),
      draw("circle", { cx: x(z.value), cy: y(whole), r: 4, fill: COLOURS[1] }));
    curve.setAttribute("aria-label", `digit against z, ${count} levels: z ${z.value.toFixed(2)} becomes digit ${digit}`);

    const below = [0, ...names.slice(0, -1).map((d) => 0.5 + 0.5 * erf(border(d + low) / width.value / Math.SQRT2)), 1];
    const shares = names.map((d) => below[d + 1] - below[d]);
    const bx = (d) => margin + ((d + 0.5) / count) * (wide - margin - 4), most = Math.max(0.5, ...shares);
    const by = (share) => tall - margin - (share / most) * (tall - margin - 14);
    axes(bars, names.filter((d) => d % every === 0).map((d) => [d, d]), [0, 0.25, 0.5].map((v) => [v, v]), bx, by);
    bars.append(...shares.map((share, d) => draw("rect", { x: bx(d) - 0.4 * (bx(1) - bx(0)), width: 0.8 * (bx(1) - bx(0)),
      y: by(share), height: tall - margin - by(share), fill: COLOURS[d === digit ? 1 : 0] })),
      draw("path", { d: `M${margin} ${by(1 / count)} H${wide - 4}`, stroke: "currentColor", "stroke-dasharray": "2 3" }));
    const perplexity = 2 ** -shares.filter((p) => p > 0).reduce((sum, p) => sum + p * Math.log2(p), 0);
    bars.setAttribute("aria-label", `share of each level: ${shares.map((p) => p.toFixed(2)).join(", ")}`);
    said.textContent = `z ${z.value.toFixed(2)}, squashed and stretched ${bend(z.value).toFixed(2)}, rounded ${whole}: `
      + `digit ${digit}, code ${code.toFixed(2)}. Perplexity ${perplexity.toFixed(2)} of ${count} levels.`;
  }
  show();
  const box = (words, svg) => make("figure", { style: "width: 310px" }, make("figcaption", {}, words), svg);
  return [
    make("div", { class: "pictures" }, box("the digit of z", curve), box("share of each digit, for a normal z", bars)),
    said,
    make("div", { class: "controls" }, levels.row, z.row, width.row),
  ];
});
