"""A JupyterLab page that the tests drive, and the small notebook that they open in it."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import nbformat

CELLS = """
import time
import torch
from vg import show
from vg.interrupts import heeded
from vg.progress import tqdm

show.style()

def clip(start=0, frames=32):  # each frame is of one grey, which says its number: 40 + 5 * k
    grey = (40 + 5 * torch.arange(start, start + frames)) / 127.5 - 1
    return grey.view(1, -1, 1, 1).expand(1, frames, 64, 64)
# %%
show.player({"forwards": clip(), "a name that is longer than its picture is wide": clip().flip(1)})
# %%
def make(seed, top_p, start):
    if seed == 1:
        raise RuntimeError("much went wrong " * 80)
    with heeded() as stop:
        while seed == 0 and not stop.asked:
            time.sleep(0.02)
    calls.append(seed)
    return show.player({f"{start}, {'stopped' if seed == 0 else seed}": clip()}, given=8)

calls = []
show.explorer(make, seed=(0, 9, 1, 5), top_p=(0.5, 1.0, 0.01, 0.97), start=["nothing", "still"])
# %%
def edit(row, digit):
    return show.player({"framed": show.outline(clip(), (0, row, 3), (8, 4, 4)), "edited": clip(digit)})

show.live_explorer(edit, follow=lambda row: {"digit": row % 3 + 1}, row=(0, 15), digit=(0, 7))
# %%
show.live_explorer(lambda n: show.grid(torch.full((n, 1, 32, 32), 0.5)), n=(1, 9))
# %%
for _ in tqdm(range(5), desc="encoding"):
    time.sleep(0.01)
# %%
show.curves({"loss": [3, 2, 1]}, "a run", y="bits")
"""
PLAYER, EXPLORER, EDITOR, PICTURE, BAR, FIGURE = range(1, 7)  # cells


def write(path: Path, cells: str = CELLS) -> None:
    """Write a notebook of these cells that has not been run."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells.split("# %%")]
    notebook.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(notebook, path)


class Page:
    """A notebook that is open in JupyterLab.

    Attributes:
        page: Playwright's page.
        problems: what the browser's console and scripts complained of.
    """

    def __init__(self, browser, address: str, name: str, token: str, width: int = 1400) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 1000})
        self.page.set_default_timeout(60_000)
        self.problems: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.address = f"{address}/lab/tree/{name}?token={token}&reset"
        self.open()

    def open(self) -> None:
        """Load the page, and wait for its kernel."""
        self.page.goto(self.address)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.evaluate(
            """() => {
                window.kernel = () => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
                window.cell = n => jupyterapp.shell.currentWidget.content.widgets[n].node;
            }"""
        )
        self.wait("kernel()?.status === 'idle'")

    def close(self) -> None:
        self.page.close()

    def do(self, command: str, **options) -> None:
        """Run one of JupyterLab's commands to its end."""
        self.page.evaluate("([name, options]) => jupyterapp.commands.execute(name, options)", [command, options])

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression holds."""
        self.page.wait_for_function(f"() => {{ try {{ return {condition} }} catch (error) {{ return false }} }}")

    def wait_for_players(self) -> None:
        self.wait("[...document.querySelectorAll('vg-player')].every(p => p.film && p.text)")

    def run_code(self, code: str) -> None:
        """Have the kernel start on some code, beside the notebook."""
        self.page.evaluate("code => { kernel().requestExecute({ code }) }", textwrap.dedent(code))

    def output(self, cell: int):
        """Playwright's locator of a cell's output."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-Cell-outputWrapper")

    def player(self, cell: int):
        """Playwright's locator of a cell's player."""
        return self.output(cell).locator("vg-player")

    def texts(self) -> list[str]:
        """What each output says."""
        return self.page.evaluate("[...document.querySelectorAll('.jp-OutputArea-output')].map(o => o.innerText)")

    def drag(self, player, share: float) -> None:
        """Drag a player's slider from where it is to this share of its length."""
        box = player.locator("input").bounding_box()
        k, last = player.evaluate("p => [p.frame, p.film.frames - 1]")
        knob = 16  # its middle goes from 8 pixels to 8 before the end
        place = lambda at: box["x"] + knob / 2 + at * (box["width"] - knob)  # noqa: E731
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(place(k / last), middle)
        self.page.mouse.down()
        self.page.mouse.move(place(share), middle, steps=4)
        self.page.mouse.up()


def greys(player) -> list[int]:
    """The grey level in the middle of each of a player's pictures."""
    return player.evaluate(
        "p => p.canvases.map(c => c.getContext('2d').getImageData(c.width / 2, c.height * 0.75, 1, 1).data[0])"
    )


def watch(player, count: int = 200) -> list[tuple[int, int]]:
    """(frame, grey level in the middle) of the player that stands there at each of so many animation frames.

    A page without its player, or a picture that nothing was drawn on, gives a grey level of -1.
    """
    box = player.locator("xpath=..").element_handle()  # stays where the player is replaced by another
    return box.evaluate(
        """(box, count) => new Promise(done => {
            const seen = [];
            const look = () => {
                const p = box.querySelector('vg-player'), c = p && p.canvases && p.canvases[p.canvases.length - 1];
                const [grey, , , solid] = c ? c.getContext('2d').getImageData(32, 48, 1, 1).data : [0, 0, 0, 0];
                seen.push([p ? p.frame : -1, solid && c.getBoundingClientRect().width ? grey : -1]);
                seen.length < count ? requestAnimationFrame(look) : done(seen);
            };
            requestAnimationFrame(look);
        })""",
        count,
    )


def until(condition: Callable[[], bool], page, seconds: float = 20) -> bool:
    """Wait for a Python condition while the page goes on."""
    for _ in range(int(seconds * 20)):
        if condition():
            return True
        page.wait_for_timeout(50)
    return condition()
