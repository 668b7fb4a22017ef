"""Laws of named weights: what is loaded is what was saved, or an error says why not."""

import json
import os
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file

from vg import checkpoints
from vg.checkpoints import BadCheckpoint
from vg.experiments.config import to_json
from vg.experiments.registry import REGISTRY
from vg.hashing import weight_hash
from vg.models import Prior, PriorConfig, QuantizerConfig, TubeletConfig, TubeletTokenizer
from vg.training import state_files


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), (5, 4, 3), width=16)).train()
    tokenizer.quantize(torch.randn(2, 1, 4, 16, 16))  # running statistics that are not the first ones
    checkpoints.save("tubelet-test", tokenizer, {"steps": 3}, tmp_path)
    return tokenizer.eval(), tmp_path


def test_a_model_comes_back_frozen_in_float32_with_the_rounded_weights(saved):
    model, folder = saved
    loaded = checkpoints.load("tubelet-test", folder)
    learned = dict(model.named_parameters())
    for key, value in loaded.state_dict().items():
        due = model.state_dict()[key]
        assert torch.equal(value, due.half().float() if key in learned else due), key
    assert loaded.frozen and not loaded.train().training and loaded.name == "tubelet-test"
    assert not any(p.requires_grad for p in loaded.parameters())
    video = torch.rand(1, 1, 4, 8, 8) * 2 - 1
    assert torch.equal(loaded.encode(video), loaded.encode(video))
    assert load_file(folder / "tubelet-test.safetensors")["embed.weight"].dtype == torch.float16


def test_saving_what_was_loaded_changes_nothing(saved):
    _, folder = saved
    first = checkpoints.load("tubelet-test", folder)
    before = (folder / "tubelet-test.safetensors").read_bytes()
    checkpoints.save("tubelet-test", first, {"steps": 3}, folder)
    assert (folder / "tubelet-test.safetensors").read_bytes() == before
    assert weight_hash(checkpoints.load("tubelet-test", folder)) == weight_hash(first)


def test_a_prior_comes_back_too_and_the_card_keeps_the_facts(tmp_path):
    prior = Prior(PriorConfig((5, 4, 3), grid=(2, 3), width=32, depth=1, heads=4, num_labels=2))
    checkpoints.save("prior-test", prior, {"metrics": {"bits": 1.5}}, tmp_path)
    card = checkpoints.card("prior-test", tmp_path)
    assert card.model == "Prior" and card.facts == {"metrics": {"bits": 1.5}} and card.config["num_labels"] == 2
    assert checkpoints.load("prior-test", tmp_path).config == prior.config
    assert checkpoints.names(tmp_path) == ["prior-test"]
    left = sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock")
    assert left == ["prior-test.json", "prior-test.safetensors"]


def test_what_is_missing_damaged_or_foreign_is_named(saved):
    _, folder = saved
    with pytest.raises(FileNotFoundError, match=r"'tubelet-128'.*tubelet-test"):
        checkpoints.load("tubelet-128", folder)
    weights, card = folder / "tubelet-test.safetensors", folder / "tubelet-test.json"
    raw, text = weights.read_bytes(), json.loads(card.read_text())
    weights.write_bytes(raw[:-1] + b"x")
    with pytest.raises(BadCheckpoint, match="not what its card describes"):
        checkpoints.load("tubelet-test", folder)
    weights.unlink()
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        checkpoints.load("tubelet-test", folder)
    weights.write_bytes(raw)
    for change, said in [
        ({"format": 9}, "has format 9"),
        ({"model": "Diffusion"}, "is a Diffusion"),
        ({"config": text["config"] | {"width": 24}}, "does not fit"),
        ({"config": {"depth": 3}}, "does not fit"),
    ]:
        card.write_text(json.dumps(text | change))
        checkpoints.seal("tubelet-test", folder)
        with pytest.raises(BadCheckpoint, match=said):
            checkpoints.load("tubelet-test", folder)
    card.write_text("{")
    with pytest.raises(BadCheckpoint, match="no card"):
        checkpoints.card("tubelet-test", folder)


def test_weights_that_half_precision_cannot_hold_are_not_written(tmp_path):
    model = TubeletTokenizer(TubeletConfig((2, 4, 4), (5, 4, 3), width=16))
    model.embed.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"embed\.weight"):
        checkpoints.save("bad", model, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../z", "/z", "a/b", "a\\b", ".hidden", "a\0"])
def test_a_name_that_is_none_or_leads_elsewhere_is_refused(saved, name):
    model, folder = saved
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ValueError, match="cannot name a checkpoint"):
        checkpoints.save(name, model, {}, folder)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter on Windows")
def test_whoever_may_read_new_files_may_read_weights_cards_and_states(tmp_path):
    umask = os.umask(0o027)
    try:
        checkpoints.save("a", Prior(PriorConfig((5, 4), (2, 2), 16, 1, 2)), {}, tmp_path)
        state_files.write(tmp_path, {}, {"a": torch.zeros(2)})
        state_files.write(tmp_path, {}, {"a": torch.ones(2)})
    finally:
        os.umask(umask)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir() if not p.name.endswith(".lock")}
    assert modes == dict.fromkeys(["a.json", "a.safetensors", state_files.STATE, state_files.PREVIOUS], 0o640)


@pytest.mark.parametrize("name", checkpoints.names())
def test_the_configuration_of_a_checkpoint_is_known_from_its_card_alone(name, tmp_path):
    shutil.copy(checkpoints.folder() / f"{name}.json", tmp_path)  # no weights
    assert checkpoints.config(name, tmp_path) == checkpoints.load(name).config


def test_a_configuration_that_is_none_of_its_model_is_named(saved):
    _, folder = saved
    with pytest.raises(FileNotFoundError, match=r"'tubelet-128'.*tubelet-test"):
        checkpoints.config("tubelet-128", folder)
    card = folder / "tubelet-test.json"
    text = json.loads(card.read_text())
    for change, said in [({"model": "Diffusion"}, "is a Diffusion"), ({"config": {"depth": 3}}, "does not fit")]:
        card.write_text(json.dumps(text | change))
        with pytest.raises(BadCheckpoint, match="not as it was written"):
            checkpoints.config("tubelet-test", folder)
        checkpoints.seal("tubelet-test", folder)
        with pytest.raises(BadCheckpoint, match=said):
            checkpoints.config("tubelet-test", folder)


@pytest.mark.parametrize("name", checkpoints.names())
def test_shipped_checkpoints_load_and_their_cards_say_how_they_came_about(name):
    model, card = checkpoints.load(name), checkpoints.card(name)
    assert card.name == name and model.frozen
    assert {"data", "seconds", "metrics"} <= set(card.facts)
    if "recipe" not in card.facts:  # made by the command of today: the very experiment that has its name
        assert card.facts["experiment"] == to_json(REGISTRY[name])


@pytest.mark.parametrize("size", [size for size in (64, 128) if f"prior-{size}" in checkpoints.names()])
def test_a_shipped_prior_belongs_to_the_shipped_tokenizer(size):
    facts = checkpoints.card(f"prior-{size}").facts["tokenizer"]
    assert facts["weights"] == weight_hash(checkpoints.load(facts["name"]))


FORMER = {
    "prior-64": {"num_labels": 28, "condition_levels": (), "alibi_multiplier": 4.0, "reach": None},
    "prior-cifar10": {"num_labels": 10, "condition_depth": 2},
    "video-vqvae-64": {"quantizer": QuantizerConfig("vq", 1024, 16, (8, 5, 5, 5))},
    "video-fsqvae-64": {"quantizer": QuantizerConfig("fsq", 1024, 16, (8, 5, 5, 5))},
    "vqvae-cifar10": {"quantizer": QuantizerConfig("vq", 512)},
    "vqvae2-cifar10": {
        "top_quantizer": QuantizerConfig("vq", 4096, levels=(8,) * 4),
        "quantizer": QuantizerConfig("vq", 64, levels=(8, 8)),
    },
}


@pytest.mark.parametrize("name", FORMER)
def test_cards_and_weights_in_former_words_are_read_in_todays(name, tmp_path):
    model = checkpoints.load(name)
    for field, value in FORMER[name].items():
        assert getattr(model.config, field) == value
    checkpoints.save(name, model, {}, tmp_path)  # and written in today's
    again = checkpoints.load(name, tmp_path)
    assert again.config == model.config and weight_hash(again) == weight_hash(model)
    assert checkpoints.card(name, tmp_path).config == json.loads(json.dumps(asdict(model.config)))


def test_a_prior_whose_card_knows_of_no_normalisation_has_none(tmp_path):
    old = Prior(PriorConfig((5, 4, 3), grid=(2, 3), width=32, depth=1, heads=4, normed=False))
    checkpoints.save("old", old, {}, tmp_path)
    path = tmp_path / "old.json"
    raw = json.loads(path.read_text())
    del raw["config"]["normed"]
    path.write_text(json.dumps(raw))
    checkpoints.seal("old", tmp_path)
    assert checkpoints.load("old", tmp_path).config == old.config
