// Pictures that were made beforehand for every setting of the controls: look up, and draw.
start((sheet) => {
  const pictures = data.pictures.map((picture) => ({ ...picture, ...figure(sheet.width, sheet.height, data.scale, data.smooth) }));
  const controls = data.axes.map(({ name, values, start, menu }) => menu
    ? choice(name, values, start, () => show())
    : slider(name, { max: values.length - 1, value: start, text: (k) => values[k] }, () => show()));

  const share = (length, whole) => `${(100 * length) / whole}%`;
  for (const { frame } of pictures)
    for (const [top, left, high, wide] of data.boxes)
      frame.append(make("div", { style: "position: absolute; pointer-events: none; outline: 2px solid #ff8c1a; "
        + `top: ${share(top, sheet.height)}; left: ${share(left, sheet.width)}; `
        + `height: ${share(high, sheet.height)}; width: ${share(wide, sheet.width)}` }));

  // the number of an entry in a table of this shape; an axis of length 1 does not depend on its control
  const place = (shape) => shape.reduce((n, length, k) => n * length + (length > 1 ? controls[k].value : 0), 0);

  function show() {
    const setting = data.axes.map(({ name, values }, k) => `${name} ${values[controls[k].value]}`).join(", ");
    for (const { label, first, shape, words, wordsShape, context, say } of pictures) {
      context.clearRect(0, 0, sheet.width, sheet.height);
      sheet.paint(context, first + place(shape));
      const caption = [label, words && words[place(wordsShape)]].filter(Boolean).join(": ");
      say(caption, `${caption} (${setting})`);
    }
  }
  show();
  return [
    make("div", { class: "pictures" }, ...pictures.map(({ box }) => box)),
    make("div", { class: "controls" }, ...controls.map(({ row }) => row)),
  ];
}, data.sheet);
