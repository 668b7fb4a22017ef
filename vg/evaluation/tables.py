"""The numbers of cards in one table: what was reached, beside the baselines."""

from typing import Any

from vg.evaluation.damage import DAMAGES

Row = tuple[str, str, dict[str, str | float]]

# (measure, where its number lies in the card's metrics, and those of its baselines by name)
ROWS: dict[str, list[Row]] = {
    "tokenizer": [
        ("PSNR of reconstructions, dB", "psnr", {"mean frame": "psnr_mean_frame", "nearest training clip":
            "psnr_nearest_training_clip"}),
        ("PSNR where it moves, dB", "psnr_where_it_moves", {"mean frame": "psnr_where_it_moves_mean_frame"}),
        ("grey levels from frame to frame", "step", {"film": "step_film"}),
        ("correlation of these steps with the film's", "step_correlation", {}),
        ("SSIM of reconstructions", "ssim", {"mean frame": "ssim_mean_frame"}),
        ("bits of a clip of 16 frames, without a prior", "bits_a_clip", {}),
        ("tokens that stay where the picture stands still", "stability", {}),
    ],
    "prior": [
        ("bits per token", "bits_a_token", {"uniform": "uniform", "unigram": "unigram", "copy": "copy_last_patch"}),
        ("bits per token after the first latent frame", "bits_a_token_after_the_first_latent_frame",
            {"copy": "copy_last_patch_after_the_first_latent_frame"}),
        ("Fréchet distance of continuations", "generated.frechet.generated", {"film": "generated.frechet.real_half",
            "last frame copied": "generated.frechet.last_frame_copied", "frames shuffled":
            "generated.frechet.frames_shuffled"}),
        ("Fréchet distance of clips from labels", "generated.frechet.from_labels",
            {"film": "generated.frechet.real_half"}),
        ("share of moving parts that hold together", "generated.figures.whole.generated",
            {"film": "generated.figures.whole.real_half", "film through the tokenizer":
            "generated.figures.whole.through_the_tokenizer"}),
    ],
    "features": [
        ("order of the frames told, as filmed", "validation.as filmed", {"chance": 0.25}),
        ("arrow of time told", "validation.arrow of time", {"chance": 0.5}),
    ],
    "figures": [
        ("parts as filmed told from damaged ones", "validation.as filmed", {"chance": 1 / len(DAMAGES)}),
    ],
    "images": [
        ("PSNR of test images, dB", "psnr", {"PCA": "psnr_pca"}),
        ("bits per dimension", "bits_per_dim", {}),
        ("bits of an image", "bits_an_image", {}),
        ("bits of a top token", "top_bits_a_token", {"uniform": "top_uniform", "unigram": "top_unigram"}),
        ("bits of a bottom token", "bottom_bits_a_token", {"uniform": "bottom_uniform", "unigram": "bottom_unigram"}),
    ],
}  # fmt: skip


def rows(kind: str, metrics: dict) -> list[tuple[str, str, str]]:
    """Measure, what was reached, and the baselines in words: for each measure that there is.

    Args:
        kind: of model, one of ``ROWS``.
        metrics: its card's "metrics". Where they are of test shots, which those have that say what was reached on
            validation shots too, the measure says so.
    """
    found, shots = [], ", test shots" if kind in ("tokenizer", "prior") and "validation" in metrics else ""
    for measure, key, baselines in ROWS[kind]:
        if (value := _at(metrics, key)) is not None:
            beside = {name: _at(metrics, at) if isinstance(at, str) else at for name, at in baselines.items()}
            said = ", ".join(f"{name} {_rounded(number)}" for name, number in beside.items() if number is not None)
            found.append((measure + shots * ("." not in key), _rounded(value), said))
    return found


def table(metrics: dict[str, dict]) -> str:
    """Markdown: a row for each measure that there is; ``metrics`` as of ``rows``, by kind of model."""
    lines = ["| model | measure | reached | baselines |", "|---|---|---|---|"]
    lines += [f"| {kind} | {' | '.join(row)} |" for kind, found in metrics.items() for row in rows(kind, found)]
    return "\n".join(lines) + "\n"


def _rounded(number: float) -> str:
    """To two places, three below 1 and none from 100 on; whole numbers as they are."""
    if number == round(number):
        return f"{number:,.0f}"
    return f"{number:,.{3 if abs(number) < 1 else 2 if abs(number) < 100 else 0}f}"


def _at(metrics: dict, path: str) -> float | None:
    found: Any = metrics
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found
