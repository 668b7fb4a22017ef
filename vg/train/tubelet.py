"""The tubelet tokenizers of the film: ``tubelet-fsq-64``, and ``tubelet-fsq-128``, which begins where it ends."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from vg import checkpoints
from vg.data import Clips, FrameStore, split_shots
from vg.hashing import weight_hash
from vg.latents.search import search_codes
from vg.metrics import psnr, ssim
from vg.models import TubeletConfig, TubeletTokenizer
from vg.profiles import device
from vg.recipes import tokenizer_batches, tubelet_loss, zoomed_batches
from vg.train.film import FRAMES, data_card, held_out, open_film, tokenizer_facts, validation_psnr
from vg.train.shipping import fit, part_folder, run_folder, ship
from vg.training import Recipe, Trained

SMALL, LARGE = "tubelet-fsq-64", "tubelet-fsq-128"
RECIPE = Recipe(steps=9600, lr=2e-3, muon=2e-2, warmup=50, clip=5.0, ema=0.99)
ZOOMED_RECIPE = Recipe(steps=3300, lr=1e-3, muon=1e-2, warmup=50, clip=5.0, ema=0.99)
LARGE_RECIPE = Recipe(steps=9000, lr=2e-3, muon=1.5e-2, warmup=50, clip=5.0, ema=0.995)
DETAIL_RECIPE = Recipe(steps=6000, lr=2e-3, muon=1.5e-2, warmup=50, clip=5.0, ema=0.995)
DETAILS = {"levels": (8, 5), "detail_levels": (5, 5, 5, 5), "detail_share": 0.2}
CROP = 96  # pixels of 128
SEARCH_STEPS = 20


def facts(tokenizer: TubeletTokenizer, store: FrameStore) -> dict:
    """``tokenizer_facts``, and what the same decoder draws from codes that were searched for."""
    truth = held_out(store)
    made = torch.cat([
        tokenizer.decode(search_codes(tokenizer, part, SEARCH_STEPS, progress=False), part.shape[2:])
        for part in tqdm(truth.split(8), unit="batch", desc="searching codes")
    ])  # fmt: skip
    return tokenizer_facts(tokenizer, store) | {
        "search_steps": SEARCH_STEPS,
        "psnr_searched": round(float(psnr(made, truth).mean()), 2),
        "ssim_searched": round(float(ssim(made, truth).mean()), 4),
    }


def train_small(store: FrameStore, large: FrameStore, folder: Path) -> tuple[Trained, dict]:
    """Train in two parts; the validation PSNR is in both histories, of which the second is returned.

    The first part sees clips as they are. Towards its end it went on learning the training shots alone; so the second
    part sees clips at many scales and lights, cut out of the ``large`` store.
    """
    train, _ = split_shots(store.shots)
    evaluate = validation_psnr(store)
    torch.manual_seed(RECIPE.seed)
    tokenizer = TubeletTokenizer(TubeletConfig()).to(device())
    draw = tokenizer_batches(Clips(store, train, FRAMES), batch=4, reverse=True)
    first = fit(tokenizer, tubelet_loss, draw, RECIPE, folder=folder, evaluate=evaluate, every=600)
    tokenizer.load_state_dict(first.model.state_dict())
    draw = zoomed_batches(Clips(large, train, FRAMES), batch=4, size=store.frames.shape[-1])
    again = part_folder(folder, "zoomed", tokenizer)
    second = fit(tokenizer, tubelet_loss, draw, ZOOMED_RECIPE, folder=again, evaluate=evaluate, every=300)
    how = {
        "batch": 4,
        "frames": FRAMES,
        "recipe": {"as they are": asdict(RECIPE), "zoomed": asdict(ZOOMED_RECIPE)},
        "validation_psnr": {
            "as they are": first.history["validation PSNR"],
            "zoomed": second.history["validation PSNR"],
        },
    }
    return Trained(second.model, second.history, first.seconds + second.seconds), how


def train_large(store: FrameStore, larger: FrameStore, small: TubeletTokenizer, folder: Path) -> tuple[Trained, dict]:
    """Train in two parts at 128 pixels, from the ``small`` one's weights on, four patches to a token.

    In the first part every patch has the same digits, as in ``small``, and clips are crops. In the second the busiest
    patches have more digits than the others: the layers beside FSQ begin anew, all others go on. Which patches are
    the busiest depends on the whole picture, so clips are whole ones now, at many scales out of the ``larger`` store.
    """
    train, _ = split_shots(store.shots)
    evaluate = validation_psnr(store)
    share = CROP / store.frames.shape[-1]
    draw = zoomed_batches(Clips(store, train, FRAMES), batch=2, size=CROP, least=share, most=share, whole=0)
    torch.manual_seed(LARGE_RECIPE.seed)
    tokenizer = TubeletTokenizer(replace(small.config, group=(2, 2))).to(device())
    tokenizer.load_state_dict(small.state_dict())
    first = fit(tokenizer, tubelet_loss, draw, LARGE_RECIPE, folder=folder, evaluate=evaluate, every=1000)
    torch.manual_seed(DETAIL_RECIPE.seed)
    tokenizer = TubeletTokenizer(replace(tokenizer.config, **DETAILS)).to(device())
    known = {k: v for k, v in first.model.state_dict().items() if not k.startswith(("to_code", "from_code"))}
    tokenizer.load_state_dict(known, strict=False)
    again = part_folder(folder, "details", tokenizer)
    size = store.frames.shape[-1]
    least = size / larger.frames.shape[-1]
    draw = zoomed_batches(Clips(larger, train, FRAMES), batch=1, size=size, least=least)
    second = fit(tokenizer, tubelet_loss, draw, DETAIL_RECIPE, folder=again, evaluate=evaluate, every=500)
    how = {
        "begins_with": {"name": small.name, "weights": weight_hash(small)},
        "batch": {"all alike": 2, "details": 1},
        "frames": FRAMES,
        "size": {"all alike": CROP, "details": size},
        "recipe": {"all alike": asdict(LARGE_RECIPE), "details": asdict(DETAIL_RECIPE)},
        "validation_psnr": {
            "all alike": first.history["validation PSNR"],
            "details": second.history["validation PSNR"],
        },
    }
    return Trained(second.model, second.history, first.seconds + second.seconds), how


def train_tubelet(to: Path) -> None:
    """``tubelet-fsq-64``: 64 pixels, on the film's training shots."""
    store = open_film()
    folder = run_folder(SMALL, store.name, data_card(store))
    trained, how = train_small(store, open_film(size=128), folder)
    ship(SMALL, trained, {"data": data_card(store), **how}, lambda model: facts(model, store), to)


def train_large_tubelet(to: Path) -> None:
    """``tubelet-fsq-128``: 128 pixels, from the ``tubelet-fsq-64`` that lies in ``to`` on."""
    store = open_film(size=128)
    small = checkpoints.load(SMALL, to)
    folder = run_folder(LARGE, store.name, data_card(store), weight_hash(small))
    trained, how = train_large(store, open_film(size=192), small, folder)
    ship(LARGE, trained, {"data": data_card(store), **how}, lambda model: facts(model, store), to)
