"""Cards as readers see them: six rows, in words, with the card's own numbers."""

import json
import re

import pytest

from vg import checkpoints, show
from vg.evaluation.tables import rows
from vg.experiments.config import FIGURES
from vg.experiments.registry import REGISTRY


@pytest.mark.parametrize("name", checkpoints.names())
def test_a_shipped_card_is_six_rows_of_words_at_most(name):
    made = show.card(name)
    heads = [head for head, _ in made.rows]
    assert heads[:3] == ["model", "made from", "training"] and 4 <= len(heads) <= 6
    model, facts = checkpoints.load(name), checkpoints.card(name).facts
    weights = sum(value.numel() for value in model.state_dict().values()) / 1e6
    said = dict(made.rows)
    assert abs(float(re.search(r"([\d.]+) M", said["model"])[1]) - weights) < 0.06
    assert f"{round(facts['seconds'] / 60)} minutes" in said["training"]
    assert "{" not in repr(made) and len(repr(made).splitlines()) == 1 + len(heads)
    page = made._repr_html_()
    assert page.count("<tr>") == len(heads) and f"<caption>{name}</caption>" in page


def test_steps_are_those_of_all_parts_or_of_the_experiment_at_its_scale(tmp_path):
    assert dict(show.card("prior-64").rows)["training"].startswith(f"{REGISTRY['prior-64'].prior.recipe.steps:,} steps")
    assert dict(show.card("figure-features").rows)["training"].startswith(f"{FIGURES.recipe.steps:,} steps")
    assert "parts as filmed told from damaged ones" in dict(show.card("figure-features").rows)
    facts = checkpoints.card("tubelet-fsq-64").facts
    experiment = {"tokenizer": {"recipe": {"steps": 500}}, "prior": {"recipe": {"steps": 7}}, "scale": 0.1}
    facts = {key: value for key, value in facts.items() if key != "recipe"} | {"experiment": experiment}
    checkpoints.save("mine", checkpoints.load("tubelet-fsq-64"), json.loads(json.dumps(facts)), tmp_path)
    assert dict(show.card("mine", tmp_path).rows)["training"].startswith("50 steps")


def test_numbers_are_rounded_and_stand_beside_their_baselines():
    metrics = {"psnr": 26.4249, "psnr_mean_frame": 25.0, "ssim": 0.82264, "bits_a_clip": 16176.6}
    assert rows("tokenizer", metrics) == [
        ("PSNR of reconstructions, dB", "26.42", "mean frame 25"),
        ("SSIM of reconstructions", "0.823", ""),
        ("bits of a clip of 16 frames, without a prior", "16,177", ""),
    ]


def test_what_was_measured_on_test_shots_is_called_so():
    figures = {"bits_a_token": 5.0, "generated": {"frechet": {"generated": 3.0}}}
    both = rows("prior", figures | {"validation": {"bits_a_token": 6.0}})
    assert [measure for measure, *_ in both] == ["bits per token, test shots", "Fréchet distance of continuations"]
    assert [measure for measure, *_ in rows("prior", figures)] == [
        "bits per token", "Fréchet distance of continuations"
    ]  # fmt: skip
