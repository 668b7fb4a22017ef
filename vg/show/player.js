// <vg-player>: clips under one slider, in any page that runs scripts; no kernel, no widgets, no network.
//
// data-film holds what is shown, data-sprite an image of every frame of every clip at its own size. Without a sprite
// (a stored notebook has none) the frames are those of the animated PNG in the output before this one, as
// vg.data.apng writes it. A player whose data-key was on the page before goes on at the same frame.
(() => {
  if (!document.getElementById("vg-style")) {
    const style = document.createElement("style");
    style.id = "vg-style";
    // A live explorer stands in for the still picture above it; a widget whose model is gone has nothing to say.
    style.textContent = `
      .jp-OutputArea-child:has(+ .jp-OutputArea-child .vg-live) { display: none; }
      .jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none; }
      .vg-live, .vg-live .jupyter-widgets { max-width: 100%; }`;
    document.head.append(style);
  }
  if (customElements.get("vg-player")) return;

  const SHEET = `
    :host { display: block; color: var(--jp-ui-font-color1, inherit); max-width: 100%;
            font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
    .clips { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 4px; }
    figure { margin: 0; max-width: 100%; }
    figcaption { text-align: center; overflow-wrap: anywhere; }
    canvas { display: block; width: 100%; height: auto; }
    .bar { display: flex; align-items: center; gap: 8px; margin: 4px 0; max-width: 420px; }
    button { font: inherit; width: 34px; padding: 2px 0; cursor: pointer; color: inherit; background: none;
             border: 1px solid currentColor; border-radius: 3px; }
    .track { flex: 1 1 auto; min-width: 60px; padding-bottom: 4px;
             background: linear-gradient(#d1782c, #d1782c) left bottom / var(--given, 0%) 3px no-repeat; }
    input { display: block; width: 100%; margin: 0; accent-color: #2f6f9f; }
    output { min-width: 8.5em; font-variant-numeric: tabular-nums; white-space: nowrap; }`;
  const newest = new Map(); // key -> player

  async function fromSprite(source, film) {
    const image = new Image();
    image.src = source;
    await image.decode();
    const bitmap = await createImageBitmap(image);
    const { width, height, starts, lengths } = film;
    const across = bitmap.width / width;
    return {
      ...film,
      draw(context, clip, k) {
        const n = starts[clip] + Math.min(k, lengths[clip] - 1);
        context.drawImage(bitmap, (n % across) * width, Math.floor(n / across) * height, width, height,
          0, 0, width, height);
      },
    };
  }

  async function inflate(data) {
    const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // One palette, whole frames, no row filters, index 0 for a pixel that stays as it is.
  async function fromAnimation(source, film, screenWidth) {
    const bytes = new Uint8Array(await (await fetch(source)).arrayBuffer());
    const view = new DataView(bytes.buffer);
    const packed = [];
    let [width, height, palette, milliseconds] = [0, 0, null, 1000 / film.fps];
    for (let at = 8, size; at < bytes.length; at += 12 + size) {
      size = view.getUint32(at);
      const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const data = bytes.subarray(at + 8, at + 8 + size);
      if (kind === "IHDR") [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      else if (kind === "PLTE") palette = data;
      else if (kind === "fcTL" && !packed.length) milliseconds = view.getUint16(at + 28);
      else if (kind === "IDAT") packed.push(data);
      else if (kind === "fdAT") packed.push(data.subarray(4));
    }
    const frames = [];
    for (const rows of await Promise.all(packed.map(inflate))) {
      const frame = frames.length ? frames[frames.length - 1].slice() : new Uint8Array(width * height);
      for (let y = 0, p = 0; y < height; y++)
        for (let x = 0; x < width; x++, p++) frame[p] = rows[p + y + 1] || frame[p];
      frames.push(frame);
    }
    const picture = new ImageData(width, height);
    return {
      ...film, width, height, frames: frames.length, fps: 1000 / milliseconds, labels: [""], columns: 1,
      given: Math.round((film.given / film.frames) * frames.length), scale: screenWidth / width,
      draw(context, clip, k) {
        frames[k].forEach((index, p) => {
          for (let c = 0; c < 3; c++) picture.data[4 * p + c] = palette[3 * index + c];
          picture.data[4 * p + 3] = 255;
        });
        context.putImageData(picture, 0, 0);
      },
    };
  }

  // Where the notebook's page has put the output before this one: JupyterLab and nbconvert, nbconvert classic, MyST-NB.
  function pictureBefore(element) {
    const own = element.closest(".jupyter-widgets") ? null : element.closest(".jp-OutputArea-child, .output_area, .output");
    const before = own && own.previousElementSibling;
    const image = before && (before.matches("img") ? before : before.querySelector("img"));
    return image ? { image, box: before } : null;
  }

  class Player extends HTMLElement {
    connectedCallback() {
      if (!this.shadowRoot) this.build();
      else if (this.playing) this.run();
    }

    disconnectedCallback() {
      cancelAnimationFrame(this.request);
    }

    async build() {
      const film = JSON.parse(this.dataset.film);
      const before = pictureBefore(this);
      const last = newest.get(this.dataset.key);
      if (this.dataset.key) newest.set(this.dataset.key, this);
      this.frame = last ? last.frame : 0;
      this.playing = last ? last.playing : false;
      this.attachShadow({ mode: "open" });
      if (this.dataset.sprite) {
        this.lay(film, last);
        if (before) before.box.style.display = "none";
      }
      try {
        if (this.dataset.sprite) this.film = await fromSprite(this.dataset.sprite, film);
        else {
          this.film = await fromAnimation(before.image.src, film, before.image.getAttribute("width") || before.image.width);
          this.lay(this.film);
          before.box.style.display = "none";
        }
      } catch (error) { // the animated picture before this stays
        console.warn("vg-player:", error);
        if (before) before.box.style.display = "";
        this.shadowRoot.replaceChildren();
        return;
      }
      this.show(Math.min(this.frame, this.film.frames - 1));
      if (this.playing && this.isConnected) this.run();
    }

    lay(film, last) {
      const root = this.shadowRoot;
      root.innerHTML = `<style>${SHEET}</style><div class="clips"></div><div class="bar">
        <button></button><div class="track"><input type="range" min="0" value="0" step="1" title="frame" aria-label="frame">
        </div><output></output></div>`;
      [this.button, this.slider, this.text] = ["button", "input", "output"].map((name) => root.querySelector(name));
      const clips = root.querySelector(".clips");
      clips.style.maxWidth = `${film.columns * (film.width * film.scale + 4)}px`;
      this.canvases = film.labels.map((label, n) => {
        const canvas = document.createElement("canvas");
        Object.assign(canvas, { width: film.width, height: film.height });
        canvas.style.imageRendering = film.smooth ? "auto" : "pixelated";
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", label || this.dataset.alt || "clip");
        if (last && last.canvases && last.canvases[n]) canvas.getContext("2d").drawImage(last.canvases[n], 0, 0);
        const figure = document.createElement("figure");
        figure.style.width = `${film.width * film.scale}px`;
        if (film.labels.some(Boolean)) figure.append(Object.assign(document.createElement("figcaption"), { textContent: label }));
        figure.append(canvas);
        clips.append(figure);
        return canvas;
      });
      this.slider.max = film.frames - 1;
      this.slider.parentElement.style.setProperty("--given", `${(100 * film.given) / film.frames}%`);
      this.slider.value = this.frame;
      this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
      this.button.addEventListener("click", () => this.toggle(!this.playing));
      this.toggle(this.playing, false);
    }

    show(k) {
      if (!this.film) return;
      this.frame = k;
      this.canvases.forEach((canvas, clip) => this.film.draw(canvas.getContext("2d"), clip, k));
      this.slider.value = k;
      this.text.textContent = `${k} of ${this.film.frames}${k < this.film.given ? ", given" : ""}`;
    }

    toggle(on, start = true) {
      this.playing = on;
      this.button.textContent = on ? "❚❚" : "▶";
      this.button.title = on ? "pause" : "play";
      this.button.setAttribute("aria-label", this.button.title);
      if (start && on) this.run();
    }

    run() {
      cancelAnimationFrame(this.request);
      this.since = null;
      const tick = (now) => {
        if (!this.playing || !this.isConnected) return;
        this.since ??= now;
        const steps = Math.floor(((now - this.since) * this.film.fps) / 1000);
        if (steps) {
          this.since += (steps * 1000) / this.film.fps;
          this.show((this.frame + steps) % this.film.frames);
        }
        this.request = requestAnimationFrame(tick);
      };
      this.request = requestAnimationFrame(tick);
    }
  }
  customElements.define("vg-player", Player);
})();
