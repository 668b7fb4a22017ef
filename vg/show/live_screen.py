"""A live screen: endless film, drawn while it plays; its controls take effect at the next latent frame."""

from __future__ import annotations

import html
import io
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from vg import paths
from vg.data import save
from vg.data.pixels import resize, to_pil, to_uint8
from vg.models import Prior, TubeletTokenizer
from vg.sampling import SAMPLING, Stream
from vg.show.kernel import Interrupts
from vg.show.page import show_widget
from vg.show.pixels import named

FASTEST = 100  # frames a second, more than a page shows
AHEAD = 2  # latent frames that are drawn before they are shown
KEPT = 300.0  # seconds of film that can be saved
RANGES = {
    "temperature": (0.5, 1.5, 0.01),
    "top_p": (0.5, 1.0, 0.01),
    "history": (1.0, 3.0, 0.05),
}  # lowest, highest, step
_on_air: Live | None = None


class Live:
    """What ``live`` returns: the screen, its controls, and two threads behind it, one that draws and one that plays.

    Attributes:
        widget: the screen and its controls.
        controls: ``temperature``, ``top_p``, ``history``, ``label`` (where the prior has labels) and ``seed``.
        seen: uint8 frames (H, W, C) that were shown, the last five minutes.
        shown: how many were shown in all.
        said: what the controls asked for and cannot be had, or nothing.
        problem: the error that stopped it, if one did.
    """

    def __init__(
        self,
        prior: Prior,
        tokenizer: TubeletTokenizer,
        prompt: Tensor | None,
        seed: int,
        fps: float,
        scale: int | None,
        scenes: dict[str, int] | None,
        options: dict[str, Any],
    ) -> None:
        self.models, self.prompt, self.options = (prior, tokenizer), prompt, options
        self.fps, self.shown, self.said = fps, 0, ""
        self.problem: Exception | None = None
        self.seen: deque[np.ndarray] = deque(maxlen=round(KEPT * fps))
        self.stream = Stream(prior, tokenizer, prompt, seed, **options)
        first = _pictures(next(self.stream))
        self.scale = max(1, round(256 / first[0].shape[1])) if scale is None else scale
        self.still = self._png(first[0], effort=9)
        self._drawn: queue.Queue = queue.Queue(AHEAD)  # pictures of a latent frame each, on their way to the screen
        self._ahead = deque([first])  # what was drawn when it stopped: shown before what comes from there
        self._unsent: list[np.ndarray] = []  # what did not get on the way
        self._threads: list[threading.Thread] = []
        self._off = threading.Event()
        self._applied: dict[str, Any] = {}  # where the controls stood when the stream last heeded them
        self._paused = threading.Event()
        self._interrupts = Interrupts(lambda number, frame: self.stop())
        self._build(prior, scenes, seed)

    def _build(self, prior: Prior, scenes: dict[str, int] | None, seed: int) -> None:
        slider = {"continuous_update": False, "readout_format": ".2f", "style": {"description_width": "95px"}}
        options = self.options
        label = -1 if options.get("label") is None else options["label"]
        names = {"any": -1, **(scenes or {str(k): k for k in range(prior.config.num_labels)})}
        self.controls = {
            name: widgets.FloatSlider(
                options[name] or 1.0,
                min=min(low, options[name] or 1.0),
                max=max(high, options[name] or 1.0),
                step=step,
                **slider,
            )
            for name, (low, high, step) in RANGES.items()
        } | {
            "label": widgets.Dropdown(options=names, value=label, style=slider["style"]),
            "seed": widgets.BoundedIntText(seed, min=0, max=2**31 - 1, style=slider["style"]),
        }
        for name, control in self.controls.items():
            control.description = control.tooltip = name.replace("_", "-")
        if not prior.config.num_labels:
            self.controls["label"].disabled = True
        place = widgets.Layout(margin="0 12px 0 0", flex="0 0 auto", max_width="100%")
        self.screen = widgets.Image(value=self.still, format="png", layout=place)
        self.play = widgets.Button(description="play", button_style="primary", tooltip="play, or pause")
        self.stop_button = widgets.Button(description="stop", tooltip="stop drawing and playing")
        self.gif, self.mp4 = (widgets.Button(description=f"save {kind}") for kind in ("GIF", "MP4"))
        self.note = widgets.HTML("press play", tooltip="")
        self.play.on_click(lambda _: self.start() if not self.running else self.pause())
        self.stop_button.on_click(lambda _: self.stop())
        self.gif.on_click(lambda _: self.save(".gif"))
        self.mp4.on_click(lambda _: self.save(".mp4"))
        wrap = widgets.Layout(flex_flow="row wrap")
        panel = [*self.controls.values(), widgets.HBox([self.play, self.stop_button], layout=wrap)]
        panel += [widgets.HBox([self.gif, self.mp4], layout=wrap), self.note]
        self._applied = self._settings()
        self.widget = widgets.HBox([self.screen, widgets.VBox(panel)], layout=wrap)

    @property
    def running(self) -> bool:
        """Whether it draws or plays, paused or not."""
        return any(thread.is_alive() for thread in self._threads) and not self._off.is_set()

    def start(self) -> None:
        """Begin to draw and play. Whatever other screen is on is stopped first; what stopped goes on where it was."""
        global _on_air
        if self.running:
            return
        if _on_air is not None and _on_air is not self:
            _on_air.stop()
        _on_air = self
        for thread in self._threads:
            thread.join()
        self._off, self._paused, self.problem = threading.Event(), threading.Event(), None
        self._ahead.extend(self._drawn.get() for _ in range(self._drawn.qsize()))
        self._ahead.append(self._unsent)
        self._unsent, drawn = [], self._drawn
        self._threads = [
            threading.Thread(target=self._guarded, args=(work, drawn, self._off), daemon=True)
            for work in (self._draw, self._show)
        ]
        for thread in self._threads:
            thread.start()
        self.play.description = "pause"
        self._interrupts.start()

    def pause(self) -> None:
        """Hold the picture, or go on."""
        paused = self._paused
        paused.clear() if paused.is_set() else paused.set()
        self.play.description = "play" if paused.is_set() else "pause"

    def stop(self) -> None:
        """Stop drawing and playing. What was seen can still be saved."""
        self._off.set()
        self._interrupts.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self.play.description = "play"
        if self.problem is None:
            self.note.value = f"stopped after {self.shown / self.fps:.0f} seconds of film"

    def save(self, suffix: str = ".gif", to: Path | None = None) -> Path | None:
        """Write what was seen as GIF or MP4, by default under ``out/``; None if nothing was seen."""
        if not self.seen:
            self.note.value = "nothing was shown yet"
            return None
        clip = torch.from_numpy(np.stack(list(self.seen))).permute(3, 0, 1, 2)  # (C, T, H, W)
        path = Path(to or paths.out_dir() / f"live-{time.strftime('%H%M%S')}").with_suffix(suffix)
        try:
            save(path, clip, fps=self.fps, scale=self.scale)
        except (OSError, ValueError) as problem:
            self.note.value = html.escape(f"not saved: {problem}")
            return None
        self.note.value = f"saved {clip.shape[1] / self.fps:.0f} seconds: {path}"
        return path

    def _guarded(
        self, work: Callable[[queue.Queue, threading.Event], None], drawn: queue.Queue, off: threading.Event
    ) -> None:
        try:
            work(drawn, off)
        except Exception as problem:  # a thread's error is seen by nobody else
            self.problem = problem
            self.note.value = html.escape(f"stopped: {type(problem).__name__}: {problem}")
            off.set()
            self.play.description = "play"

    def _draw(self, drawn: queue.Queue, off: threading.Event) -> None:
        while not off.is_set():
            self._heed_controls()
            frames = _pictures(next(self.stream))
            while True:
                try:
                    drawn.put(frames, timeout=0.1)
                    break
                except queue.Full:
                    if off.is_set():
                        self._unsent = frames
                        return

    def _heed_controls(self) -> None:
        """Go on with what the controls say now; if that cannot be, say why and go on as before."""
        if (now := self._settings()) == self._applied:
            return
        seed = now["seed"] if now["seed"] != self._applied["seed"] else None
        self._applied = now
        try:
            self.stream.change(seed=seed, **{name: value for name, value in now.items() if name != "seed"})
        except ValueError as problem:
            self.said = str(problem)
        else:
            self.said = ""

    def _settings(self) -> dict:
        values = {name: control.value for name, control in self.controls.items()}
        return values | {"label": None if values["label"] < 0 else values["label"]}

    def _show(self, drawn: queue.Queue, off: threading.Event) -> None:
        due = time.perf_counter()
        while not off.is_set():
            try:
                frames = self._ahead.popleft() if self._ahead else drawn.get(timeout=0.1)
            except queue.Empty:
                continue
            for k, frame in enumerate(frames):
                while self._paused.is_set() and not off.is_set():
                    time.sleep(0.05)
                due = max(due + 1 / self.fps, time.perf_counter() - 0.1)  # late is late: it does not hurry after
                if off.wait(max(0.0, due - time.perf_counter())):
                    self._ahead.appendleft(frames[k:])
                    return
                self.screen.value = self._png(frame)
                self.seen.append(frame)
                self.shown += 1
            speed = self.stream.drawn / max(self.stream.seconds, 1e-9)
            self.note.value = f"draws {speed:.0f} frames a second, plays {self.fps:g}" + f"<br>{self.said}" * bool(
                self.said
            )

    def _png(self, frame: np.ndarray, effort: int = 1) -> bytes:
        out = io.BytesIO()
        to_pil(resize(frame, self.scale)).save(out, "PNG", compress_level=effort)
        return out.getvalue()

    def _ipython_display_(self) -> None:
        show_widget(self.widget, self.still, "live screen", "the first frame of film that is drawn while it plays")


def live(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    prompt: Tensor | None = None,
    seed: int = 0,
    fps: float = 12,
    scale: int | None = None,
    scenes: dict[str, int] | None = None,
    **options: Any,
) -> Live:
    """A screen on which a prior's film is drawn while it plays. Press play; nothing is drawn before.

    One screen is on at a time: starting one stops the other, and so does running its cell again. The kernel's interrupt
    stops it too, as long as no other cell is running.

    Args:
        prior, tokenizer: two that belong together.
        prompt: (C, T, H, W) in [-1, 1] to go on from, or None.
        seed: where the noise begins.
        fps: frames a second that are played, above 0.
        scale: whole number of screen pixels for each pixel; default about 256 screen pixels.
        scenes: names of labels that can be chosen; default all of the prior's.
        options: where the controls stand at first, as in ``generate``; default ``SAMPLING``.

    Raises:
        ValueError: if the models do not fit each other or the prompt, or a number is out of its range.
    """
    if _on_air is not None:
        _on_air.stop()
    if not 0 < fps <= FASTEST:
        raise ValueError(f"live: fps is {fps}, expected above 0 and at most {FASTEST}.")
    options = {**SAMPLING, **options}
    if prompt is not None:
        named(prompt)
    return Live(prior, tokenizer, prompt, seed, fps, scale, scenes, options)


def _pictures(frames: Tensor) -> list[np.ndarray]:
    """(C, T, H, W) in [-1, 1] -> T pictures (H, W, C) uint8."""
    return list(to_uint8(frames).movedim(1, -1).numpy())
