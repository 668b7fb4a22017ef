// A film as a block, cut along one row of pixels: across is width, down is time.
start((film) => {
  const { width, height } = film, { frames, scale } = data;
  const picture = figure(width, height, scale), slice = figure(width, frames, (scale * height) / frames > 1.5 ? scale : 1.5);
  slice.box.style.width = `${width * scale}px`;
  const line = () => make("div", { style: "position: absolute; left: 0; right: 0; border-top: 2px solid #ff8c1a; pointer-events: none" });
  const row = slider("row", { max: height - 1, value: data.row }, () => show());
  const frame = slider("frame", { max: frames - 1, value: data.frame }, () => show());
  const lines = [picture, slice].map(({ frame: box }) => box.appendChild(line()));

  function show() {
    film.paint(picture.context, frame.value);
    for (let t = 0; t < frames; t++) film.paint(slice.context, t, { first: row.value, rows: 1, y: t });
    lines[0].style.top = `${(100 * (row.value + 0.5)) / height}%`;
    lines[1].style.top = `${(100 * (frame.value + 0.5)) / frames}%`;
    picture.say(`frame ${frame.value}`, `frame ${frame.value} of the film, with a line at row ${row.value}`);
    slice.say(`row ${row.value} of every frame, time runs down`);
  }

  // the pictures themselves can be dragged as well: the frame for the row, the slice for the frame
  for (const [{ frame: box }, control, count] of [[picture, row, height], [slice, frame, frames]]) {
    box.style.cursor = "ns-resize";
    box.style.touchAction = "none";
    const move = (event) => {
      const { top, height: tall } = box.getBoundingClientRect();
      control.value = Math.max(0, Math.min(count - 1, Math.floor(((event.clientY - top) / tall) * count)));
      show();
    };
    box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); move(event); });
    box.addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
  }
  show();
  return [
    make("div", { class: "pictures", style: "align-items: flex-start" }, picture.box, slice.box),
    make("div", { class: "controls" }, row.row, frame.row),
  ];
}, data.sheet);
