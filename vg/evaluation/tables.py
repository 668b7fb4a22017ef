"""The numbers of cards in one table: what was reached, beside the baselines."""

from typing import Any

Row = tuple[str, str, dict[str, str | float]]

# (measure, where its number lies in the card's metrics, and those of its baselines by name)
ROWS: dict[str, list[Row]] = {
    "tokenizer": [
        ("PSNR of reconstructions, dB", "psnr", {"mean frame": "psnr_mean_frame", "nearest training clip":
            "psnr_nearest_training_clip"}),
        ("PSNR where it moves, dB", "psnr_where_it_moves", {"mean frame": "psnr_where_it_moves_mean_frame"}),
        ("SSIM of reconstructions", "ssim", {"mean frame": "ssim_mean_frame"}),
        ("bits of a clip of 16 frames, without a prior", "bits_a_clip", {}),
        ("tokens that stay where the picture stands still", "stability", {}),
    ],
    "prior": [
        ("bits per token", "bits_a_token", {"uniform": "uniform", "unigram": "unigram", "copy": "copy_last_frame"}),
        ("bits per token after the first latent frame", "bits_a_token_after_the_first_frame",
            {"copy": "copy_last_frame_after_the_first_frame"}),
        ("Fréchet distance of continuations", "generated.frechet.generated", {"film": "generated.frechet.real_half",
            "last frame copied": "generated.frechet.last_frame_copied", "frames shuffled":
            "generated.frechet.frames_shuffled"}),
        ("Fréchet distance of clips from labels", "generated.frechet.from_labels",
            {"film": "generated.frechet.real_half"}),
    ],
    "features": [
        ("order of the frames told, as filmed", "validation.as filmed", {"chance": 0.25}),
        ("arrow of time told", "validation.arrow of time", {"chance": 0.5}),
    ],
    "images": [
        ("PSNR of test images, dB", "psnr", {"PCA": "psnr_pca"}),
        ("bits per dimension", "bits_per_dim", {}),
        ("bits of a top token", "top_bits_a_token", {"uniform": "top_uniform", "unigram": "top_unigram"}),
        ("bits of a bottom token", "bottom_bits_a_token", {"uniform": "bottom_uniform", "unigram": "bottom_unigram"}),
    ],
}  # fmt: skip


def table(metrics: dict[str, dict]) -> str:
    """Markdown: a row for each measure that there is.

    Args:
        metrics: by kind of model, as in ``ROWS``: its card's "metrics".
    """
    lines = ["| model | measure | reached | baselines |", "|---|---|---|---|"]
    for kind, found in metrics.items():
        for measure, key, baselines in ROWS[kind]:
            if (value := _at(found, key)) is not None:
                beside = {name: _at(found, at) if isinstance(at, str) else at for name, at in baselines.items()}
                said = ", ".join(f"{name} {number:g}" for name, number in beside.items() if number is not None)
                lines.append(f"| {kind} | {measure} | {value:g} | {said} |")
    return "\n".join(lines) + "\n"


def _at(metrics: dict, path: str) -> float | None:
    found: Any = metrics
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found
