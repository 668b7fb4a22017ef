// The digits of one token: logits from the page, filtered as the sampler does, drawn as bars.
start(() => {
  const [tall, margin] = [130, 18];
  const text = (v) => v.toFixed(2);
  const history = slider("history", { max: 4, step: 0.05, value: data.start.history, text }, () => show());
  const temperature = slider("temperature", { min: 0.1, max: 2, step: 0.01, value: data.start.temperature, text }, () => show());
  const most = Math.max(...data.digits.map(({ past }) => past.length));
  const topK = slider("top-k", { min: 1, max: most, value: data.start.top_k || most, text: (k) => (k < most ? String(k) : "all") }, () => show());
  const topP = slider("top-p", { min: 0.05, max: 1, step: 0.01, value: data.start.top_p, text }, () => show());
  const charts = data.digits.map(({ past }) => draw("svg", { viewBox: `0 0 ${past.length * 26 + 8} ${tall}`, role: "img" }));
  const said = make("p", { class: "said", role: "status" });

  function softmax(logits) {
    const top = Math.max(...logits), powers = logits.map((v) => Math.exp(v - top)), sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((v) => v / sum);
  }

  // As vg.sampling does: guidance by history, temperature, the k largest, then the fewest that hold p.
  function filtered({ past, alone }) {
    let logits = past.map((v, i) => (alone[i] + history.value * (v - alone[i])) / temperature.value);
    const least = [...logits].sort((a, b) => b - a)[Math.min(topK.value, logits.length) - 1];
    logits = logits.map((v) => (v < least ? -Infinity : v));
    const p = softmax(logits), order = p.map((_, i) => i).sort((a, b) => p[b] - p[a]);
    let held = 0;
    for (const i of order) {
      if (topP.value < 1 && held >= topP.value) logits[i] = -Infinity;
      held += p[i];
    }
    return softmax(logits);
  }

  function show() {
    let kept = 1, bits = 0;
    data.digits.forEach((digit, n) => {
      const before = softmax(digit.past), after = filtered(digit), y = (v) => tall - margin - v * (tall - margin - 14);
      kept *= after.filter((v) => v > 0).length;
      bits -= Math.log2(after[digit.true]);
      charts[n].replaceChildren(...after.flatMap((v, i) => [
        draw("rect", { x: 26 * i + 6, width: 20, y: y(v), height: y(0) - y(v), fill: COLOURS[i === digit.true ? 1 : 0] }),
        draw("rect", { x: 26 * i + 6, width: 20, y: y(before[i]), height: y(0) - y(before[i]), fill: "none", stroke: "currentColor", "stroke-dasharray": "2 2" }),
        draw("text", { x: 26 * i + 16, y: tall - 4, "text-anchor": "middle" }, v > 0 ? i : "×")]),
        draw("path", { d: `M2 ${y(0)} H${after.length * 26 + 6}`, stroke: "currentColor" }));
      charts[n].setAttribute("aria-label", `digit ${n}: ${after.map((v, i) => `${i}: ${v.toFixed(3)}`).join(", ")}`);
    });
    said.textContent = `${kept} codes can be drawn here; the film's own (orange) ${bits < 99 ? `would cost ${bits.toFixed(2)} bits` : "cannot be drawn"}.`;
  }
  show();
  return [
    make("div", { class: "pictures" }, ...charts.map((svg, n) =>
      make("figure", { style: `width: ${data.digits[n].past.length * 26 + 8}px` }, make("figcaption", {}, `digit ${n}`), svg))),
    said,
    make("div", { class: "controls" }, temperature.row, topK.row, topP.row, history.row),
  ];
});
