"""What an experiment's folder ends with: reels to look at, the numbers in one table, and how to load the models."""

import json
from typing import Any

import torch

from vg import atomic, checkpoints
from vg.data import save
from vg.evaluation.generated import PROMPT
from vg.evaluation.reels import beginnings, reel
from vg.evaluation.tables import table
from vg.evaluation.tokenizer import held_out, reconstruct
from vg.experiments.config import Experiment
from vg.experiments.run import Run
from vg.sampling import generate

TALL = 192  # pixels that a clip is enlarged to, about
ABOUT = """# {name}

{table}
PSNR and SSIM are those of shots that were not trained on: {shots}.

{reels}
To load the models (`import vg.checkpoints`; this folder as `where`):

```python
{load}
```

`python -m vg.generate --model {folder}` makes new clips. `experiment.json` is all that was asked for, each model's
`.json` is its card, `numbers.json` holds every number. The same command as before goes on, or says that all is done.
"""


def write_report(run: Run) -> None:
    """Reels, ``numbers.json`` and, last, ``README.md``; nothing where that is there already."""
    cards = {part: checkpoints.card(part, run.folder).facts for part in run.experiment.parts}
    metrics = {part: facts["metrics"] for part, facts in cards.items()}
    print(f"\n{table(metrics)}")
    if (run.folder / "README.md").exists():
        return
    reels = write_reels(run) if isinstance(run.experiment, Experiment) else {}
    atomic.write_bytes(run.folder / "numbers.json", json.dumps(metrics, indent=2).encode())
    data = next(iter(cards.values()))["data"]
    held = data.get("test_shots") or data.get("validation_shots", "the test images")
    text = ABOUT.format(
        name=run.name,
        table=table(metrics),
        shots=held if isinstance(held, str) else ", ".join(f"frames {start} to {stop - 1}" for start, stop in held),
        reels="".join(f"![{about}]({name})\n\n" for name, about in reels.items()),
        load="\n".join(f'{part} = vg.checkpoints.load("{part}", where)' for part in cards),
        folder=run.folder,
    )
    atomic.write_bytes(run.folder / "README.md", text.encode())


def write_reels(run: Run) -> dict[str, str]:
    """GIFs of what there is: file name -> what it shows."""
    sampling, store, found = run.film_experiment.sampling, run.footage.store, {}
    tokenizer, prior = run.load("tokenizer"), run.load("prior")

    def write(name: str, about: str, *columns: torch.Tensor) -> None:
        scale = max(1, round(TALL / store.frames.shape[-2]))
        save(run.folder / name, reel(*columns), fps=store.fps, scale=scale)
        found[name] = about

    if tokenizer:
        truth = held_out(store, sampling.clips, run.footage.split.reported)
        write("reconstructions.gif", "originals, and their reconstructions", truth, reconstruct(tokenizer, truth))
    if tokenizer and prior:
        how: dict[str, Any] = {**sampling.options(), "frames": sampling.frames}
        shots = beginnings(store, sampling.clips, sampling.frames, run.footage.split)
        prompts = (
            beginnings(store, sampling.clips, PROMPT, run.footage.split) if shots is None else shots[:, :, :PROMPT]
        )
        made = generate(prior, tokenizer, prompts, **how).cpu()
        film = prompts if shots is None else shots
        write("continuations.gif", f"the film, and what the prior makes of its first {PROMPT} frames", film, made)
        if labels := prior.labels_with_layouts()[: sampling.clips]:
            made = generate(prior, tokenizer, label=labels, guidance=sampling.guidance, **how).cpu()
            write("labels.gif", "clips from nothing but the label of a shot", made)
    return found
