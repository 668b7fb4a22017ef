// What all explorers share. `root` (the element that holds the still picture) and `data` come from the page; an
// explorer's own script follows this one and calls start(). Everything lives in one function: nothing is global, so any
// number of explorers stand on one page. The shadow root keeps the page's styles out, and takes the still's place.

const SHEET = `
  :host { display: block; max-width: 100%; color: var(--jp-content-font-color1, inherit);
          font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
  .pictures { display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-end; }
  .controls { display: grid; gap: 2px 16px; max-width: 640px; margin: 6px 0;
              grid-template-columns: repeat(auto-fit, minmax(min(280px, 100%), 1fr)); }
  label { display: flex; align-items: center; gap: 8px; min-width: 0; }
  label > span { flex: 0 0 7em; overflow-wrap: anywhere; }
  input[type=range] { flex: 1 1 80px; min-width: 60px; margin: 0; accent-color: #3a86c8; }
  select { font: inherit; color: inherit; background: transparent; border: 1px solid currentColor; max-width: 100%; }
  option { color: black; background: white; }
  output { flex: 0 0 5.5em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
  figure { margin: 0; max-width: 100%; }
  figcaption { text-align: center; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
  .said { margin: 4px 0; max-width: 640px; font-variant-numeric: tabular-nums; }
  .framed { position: relative; line-height: 0; }
  canvas { display: block; width: 100%; height: auto; image-rendering: pixelated; }
  canvas.smooth { image-rendering: auto; }
  svg { display: block; width: 100%; height: auto; overflow: visible; }
  svg text { fill: currentColor; font-size: 11px; }
  svg :focus-visible, :focus-visible { outline: 2px solid #d1782c; outline-offset: 2px; }`;
const COLOURS = ["#3a86c8", "#d1782c", "#4b9f5a", "#b8599a", "#94805f", "#7b7fd0", "#9a9a3a", "#c85a5a"];

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const make = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// A native slider with its name before it and its value, in words, behind it.
function slider(name, { min = 0, max, step = 1, value, text = String }, changed) {
  const input = make("input", { type: "range", min, max, step, value });
  const output = make("output");
  const say = () => {
    output.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { say(); changed(); });
  say();
  return {
    row: make("label", {}, make("span", {}, name), input, output),
    get value() { return Number(input.value); },
    set value(to) { input.value = to; say(); }, // as if dragged, but without telling
  };
}

function choice(name, options, value, changed) {
  const select = make("select", {}, ...options.map((words, k) => make("option", { value: k }, words)));
  select.value = value;
  select.addEventListener("change", () => changed());
  return {
    row: make("label", {}, make("span", {}, name), select),
    get value() { return Number(select.value); },
    set value(to) { select.value = to; },
  };
}

// A canvas of width x height pixels that is shown `scale` times as large where there is room, under its caption.
function figure(width, height, scale, smooth = false) {
  const canvas = make("canvas", { width, height, role: "img" });
  if (smooth) canvas.className = "smooth";
  const caption = make("figcaption");
  const frame = make("div", { class: "framed" }, canvas);
  const box = make("figure", { style: `width: ${width * scale}px` }, caption, frame);
  const say = (words, alt = words) => {
    caption.textContent = words;
    canvas.setAttribute("aria-label", alt);
  };
  return { box, frame, canvas, context: canvas.getContext("2d"), say };
}

// Pictures of one size, packed in rows into one image.
async function load(sheet) {
  const image = new Image();
  image.src = sheet.src;
  await image.decode();
  const { width, height, across } = sheet;
  return {
    width, height,
    // rows `first` to `first + rows` of picture k, to the place (x, y) and size of the context
    paint(context, k, { first = 0, rows = height, x = 0, y = 0, w = width, h = rows } = {}) {
      const left = (k % across) * width, top = Math.floor(k / across) * height;
      context.drawImage(image, left, top + first, width, rows, x, y, w, h);
    },
  };
}

// Put what build(...sheets) returns, a list of elements, in the place of the still; the still stays if that fails.
async function start(build, ...packed) {
  try {
    const sheets = await Promise.all(packed.map(load));
    const shadow = root.shadowRoot || root.attachShadow({ mode: "open" });
    shadow.replaceChildren(make("style", {}, SHEET), ...build(...sheets));
  } catch (error) {
    console.error("explorer:", error);
    if (root.shadowRoot) root.shadowRoot.replaceChildren(make("slot"));
  }
}
