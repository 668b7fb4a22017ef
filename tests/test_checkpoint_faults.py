"""Whatever happens to a checkpoint, what loads is what was saved; else one sentence says what is wrong."""

import json
import os
import random
import re
import resource
import sys
import time

import pytest
import torch
from faults import child, damaged, rounds
from safetensors.torch import load_file, save_file

from vg import checkpoints
from vg.checkpoints import BadCheckpoint
from vg.hashing import weight_hash
from vg.models import Prior, PriorConfig, transformer
from vg.models.fitting import Misfit, fitted

NAME = "small"


def prior(seed: int = 0, **more) -> Prior:
    torch.manual_seed(seed)
    return Prior(PriorConfig((5, 4, 3), grid=(2, 2), width=16, depth=1, heads=4, context=0, **more))


@pytest.fixture
def folder(tmp_path):
    checkpoints.save(NAME, prior(), {"steps": 3, "rate": 0.25}, tmp_path)
    return tmp_path


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def edit(folder, change) -> None:
    """Change a card and give it a hash that is right: a stranger's card."""
    path = folder / f"{NAME}.json"
    text = json.loads(path.read_text())
    change(text)
    path.write_text(json.dumps(text))
    checkpoints.seal(NAME, folder)


def one_digit_changed(text: str) -> list[str]:
    """The text with one digit of one number changed, for every number."""
    places = [found.start() for found in re.finditer(r"\d+", text)]
    return [text[:k] + str((int(text[k]) + 1) % 10) + text[k + 1 :] for k in places]


@pytest.mark.parametrize("name", checkpoints.names())
def test_a_shipped_card_with_one_number_changed_is_refused(name, tmp_path):
    text = (checkpoints.folder() / f"{name}.json").read_text()
    for changed in one_digit_changed(text):
        (tmp_path / f"{name}.json").write_text(changed)
        with pytest.raises(BadCheckpoint, match=f"{name}.json"):
            checkpoints.card(name, tmp_path)


def test_a_damaged_card_says_the_same_or_is_refused(folder):
    path, good = folder / f"{NAME}.json", checkpoints.card(NAME, folder)
    raw, dice, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(rounds(100)):
        path.write_bytes(damaged(raw, dice))
        try:
            assert checkpoints.card(NAME, folder) == good
        except BadCheckpoint:
            refused += 1
    assert refused > rounds(100) / 2


def test_damaged_weights_are_refused(folder):
    path, dice = folder / f"{NAME}.safetensors", random.Random(0)
    raw = path.read_bytes()
    for _ in range(rounds(100)):
        path.write_bytes(damaged(raw, dice))
        with pytest.raises(BadCheckpoint, match="not what its card describes"):
            checkpoints.load(NAME, folder)


def test_a_card_that_was_edited_can_be_sealed(folder):
    path = folder / f"{NAME}.json"
    before = path.read_text()
    path.write_text(before.replace('"steps": 3', '"steps": 4'))
    with pytest.raises(BadCheckpoint, match=r"not as it was written.*checkpoints\.seal\('small'"):
        checkpoints.load(NAME, folder)
    checkpoints.seal(NAME, folder)
    assert checkpoints.card(NAME, folder).facts["steps"] == 4
    path.write_text(path.read_text().replace('"steps": 4', '"steps": 3'))
    checkpoints.seal(NAME, folder)
    assert path.read_text() == before


@pytest.mark.parametrize("name", checkpoints.names())
def test_the_shipped_cards_are_laid_out_as_save_lays_them_out(name, tmp_path):
    text = (checkpoints.folder() / f"{name}.json").read_text()
    (tmp_path / f"{name}.json").write_text(text)
    checkpoints.seal(name, tmp_path)
    assert (tmp_path / f"{name}.json").read_text() == text


ODD = {
    "ten million layers": lambda card: card["config"].update(depth=10**7),
    "a wide layer": lambda card: card["config"].update(width=10**9, heads=10**9),
    "many heads": lambda card: card["config"].update(heads=10**12),
    "a large grid": lambda card: card["config"].update(grid=[10**6, 10**6]),
    "a number below": lambda card: card["config"].update(depth=-(10**9)),
    "no number": lambda card: card["config"].update(dropout=float("nan")),
    "a word for a number": lambda card: card["config"].update(width="16"),
    "a fraction": lambda card: card["config"].update(depth=1.5),
    "a list for a number": lambda card: card["config"].update(width=[[[]]]),
    "nothing for a list": lambda card: card["config"].update(levels=None),
    "an unknown option": lambda card: card["config"].update(colour=3),
    "another model's configuration": lambda card: card.update(model="VAE"),
    "an unknown model": lambda card: card.update(model="Diffusion"),
    "no configuration": lambda card: card.pop("config"),
    "a list for a configuration": lambda card: card.update(config=[1]),
    "a number for the hash": lambda card: card.update(sha256=5),
    "no facts": lambda card: card.update(facts=None),
    "no format": lambda card: card.pop("format"),
}


@pytest.mark.parametrize("what", ODD)
def test_a_strangers_card_is_refused_before_it_takes_memory_or_time(what, folder):
    edit(folder, ODD[what])
    with pytest.raises(BadCheckpoint) as refused:
        checkpoints.load(NAME, folder)
    assert NAME in str(refused.value) and "\n" not in str(refused.value)


def test_no_more_layers_are_built_than_the_weights_can_fill(folder, monkeypatch):
    built, init = [], transformer.TransformerBlock.__init__
    monkeypatch.setattr(transformer.TransformerBlock, "__init__", lambda self, *a: built.append(1) or init(self, *a))
    for depth in (300, 60_000):
        edit(folder, lambda card: card["config"].update(depth=depth))  # noqa: B023
        with pytest.raises(BadCheckpoint, match="more layers or larger ones"):
            checkpoints.load(NAME, folder)
        assert len(built) <= 3
        built.clear()


def _load_a_large_one(folder, option: dict) -> None:
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)  # KiB

    checkpoints.load(NAME, folder)
    edit(folder, lambda card: card["config"].update(option))
    before = peak()
    with pytest.raises(BadCheckpoint, match="larger"):
        checkpoints.load(NAME, folder)
    assert peak() - before < 100_000


@pytest.mark.parametrize("option", [{"width": 4096}, {"grid": [10_000, 600]}], ids=str)
def test_matrices_larger_than_the_weights_take_no_memory(option, folder):
    process = child(_load_a_large_one, folder, option)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("number", [10**9, -(10**9), (3, 10**9), float("nan"), float("inf")], ids=str)
def test_numbers_beyond_all_weights_do_not_reach_the_model(number):
    with pytest.raises(Misfit, match="longest is"):
        fitted(lambda: pytest.fail("it was built"), {"longest": number}, {"start": torch.zeros(3)})


@pytest.mark.parametrize("text", ["", "[]", "3", '"a"', "[" * 100_000, '{"format": ' + "9" * 5000 + "}", "{}", "\xff"])
def test_what_is_no_card_is_refused(text, folder):
    (folder / f"{NAME}.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadCheckpoint):
        checkpoints.load(NAME, folder)


def test_a_card_of_many_megabytes_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "LONGEST_CARD", 100)
    with pytest.raises(BadCheckpoint, match="LONGEST_CARD"):
        checkpoints.load(NAME, folder)


def replace_weights(folder, raw: bytes) -> None:
    path = folder / f"{NAME}.safetensors"
    path.write_bytes(raw)
    edit(folder, lambda card: card.update(sha256=checkpoints._file_hash(path)))


HEADERS = {
    "a shape beyond the file": {"start": {"dtype": "F16", "shape": [10**12], "data_offsets": [0, 2 * 10**12]}},
    "a shape beside its bytes": {"start": {"dtype": "F16", "shape": [10**12], "data_offsets": [0, 2]}},
    "a shape that overflows": {"start": {"dtype": "F16", "shape": [2**40, 2**40], "data_offsets": [0, 2]}},
    "an unknown type": {"start": {"dtype": "F17", "shape": [1], "data_offsets": [0, 2]}},
    "nothing": {},
    "one small tensor": {"start": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}},
}


@pytest.mark.parametrize("what", HEADERS)
def test_headers_that_lie_are_refused(what, folder):
    header = json.dumps(HEADERS[what]).encode()
    replace_weights(folder, len(header).to_bytes(8, "little") + header + bytes(2 * bool(HEADERS[what])))
    with pytest.raises(BadCheckpoint):
        checkpoints.load(NAME, folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(bad, folder):
    path = folder / f"{NAME}.safetensors"
    weights = load_file(path)
    weights["start"][3] = bad
    save_file(weights, path)
    replace_weights(folder, path.read_bytes())
    with pytest.raises(BadCheckpoint, match="not finite: start"):
        checkpoints.load(NAME, folder)


def test_tied_weights_come_back_tied_in_value(tmp_path):
    model = prior()
    model.above = model.left
    checkpoints.save(NAME, model, {}, tmp_path)
    loaded = checkpoints.load(NAME, tmp_path)
    for ours, above, left in zip(model.left.parameters(), loaded.above.parameters(), loaded.left.parameters()):
        assert torch.equal(above, left) and torch.equal(left, ours.half().float())


def test_a_checkpoint_that_is_loaded_to_be_trained_can_be(folder):
    model = checkpoints.load(NAME, folder, trainable=True)
    assert all(p.requires_grad for p in model.parameters()) and not model.frozen and model.train().training
    assert weight_hash(model) == weight_hash(checkpoints.load(NAME, folder))


def test_facts_that_are_no_json_change_and_leave_nothing(folder):
    before, there = weight_hash(checkpoints.load(NAME, folder)), sorted(os.listdir(folder))
    with pytest.raises(ValueError, match=f"{NAME}: JSON cannot hold"):
        checkpoints.save(NAME, prior(1), {"odd": object()}, folder)
    assert weight_hash(checkpoints.load(NAME, folder)) == before and sorted(os.listdir(folder)) == there
    checkpoints.save(NAME, prior(1), {}, folder)
    assert files(folder) == [f"{NAME}.json", f"{NAME}.safetensors"]


def _save_on_a_full_disk(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with pytest.raises(OSError, match=rf"{NAME}\.safetensors cannot be written .*Make room"):
        checkpoints.save(NAME, prior(1), {}, folder)


def test_on_a_full_disk_the_file_is_named_and_the_old_one_stays(folder):
    before = weight_hash(checkpoints.load(NAME, folder))
    process = child(_save_on_a_full_disk, folder)
    process.join()
    assert process.exitcode == 0
    assert weight_hash(checkpoints.load(NAME, folder)) == before and files(folder) == [
        f"{NAME}.json",
        f"{NAME}.safetensors",
    ]


def hashes(count: int, folder) -> list[str]:
    """Of some models as they come back."""
    for k in range(count):
        checkpoints.save(f"{NAME}{k}", prior(k), {}, folder / "alone")
    return [weight_hash(checkpoints.load(f"{NAME}{k}", folder / "alone")) for k in range(count)]


def _save_and_die(folder, seed: int, k: int) -> int:
    """Die before the rename k // 2, or after it."""
    real, calls = os.replace, 0

    def replace(*arguments):
        nonlocal calls
        for half in (0, 1):
            if 2 * calls + half == k:
                os._exit(9)
            if not half:
                real(*arguments)
        calls += 1

    os.replace = replace
    checkpoints.save(NAME, prior(seed), {}, folder)
    return 5


def died(folder, seed: int, k: int) -> bool:
    process = child(_save_and_die, folder, seed, k)
    process.join()
    assert process.exitcode in (5, 9)
    return process.exitcode == 9


def test_saves_that_die_before_or_after_any_rename_leave_the_old_or_the_new(folder, tmp_path):
    known, seen, fresh = hashes(3, tmp_path), [], 0
    for k in range(20):
        checkpoints.save(NAME, prior(0), {}, folder)
        if not died(folder, 1, k):
            break
        seen.append(known.index(weight_hash(checkpoints.load(NAME, folder))))
        if checkpoints._fresh(folder, NAME).exists() and seen[-1] == 1:  # another dies on top of it
            fresh += 1
            for again in range(20):
                if not died(folder, 2, again):
                    break
                assert weight_hash(checkpoints.load(NAME, folder)) in known[1:]
        checkpoints.save(NAME, prior(2), {}, folder)
        assert weight_hash(checkpoints.load(NAME, folder)) == known[2]
        assert files(folder) == ["alone", f"{NAME}.json", f"{NAME}.safetensors"]
    assert seen == sorted(seen) and set(seen) == {0, 1} and fresh


def test_a_save_while_another_loads_gives_the_new_pair(folder, tmp_path, monkeypatch):
    _, new = hashes(2, tmp_path)
    read = checkpoints.card

    def read_and_be_overtaken(*where):
        found = read(*where)
        monkeypatch.setattr(checkpoints, "card", read)
        checkpoints.save(NAME, prior(1), {}, folder)
        return found

    monkeypatch.setattr(checkpoints, "card", read_and_be_overtaken)
    assert weight_hash(checkpoints.load(NAME, folder)) == new


def _save_for_ever(folder) -> None:
    models = [prior(0), prior(1)]
    while True:
        for model in models:
            checkpoints.save(NAME, model, {}, folder)


def test_killed_at_any_moment_the_old_or_the_new_is_there_and_nothing_else(folder, tmp_path):
    known, dice = hashes(2, tmp_path), random.Random(0)
    for _ in range(rounds(3, share=20)):
        process = child(_save_for_ever, folder)
        time.sleep(0.3 + 0.1 * dice.random())
        process.kill()
        process.join()
        assert weight_hash(checkpoints.load(NAME, folder)) in known
        checkpoints.save(NAME, prior(0), {}, folder)
        assert weight_hash(checkpoints.load(NAME, folder)) == known[0]
        assert files(folder) == ["alone", f"{NAME}.json", f"{NAME}.safetensors"]


def _save_some(folder, seed: int) -> None:
    for _ in range(5):
        checkpoints.save(NAME, prior(seed), {}, folder)


def test_four_that_save_one_name_and_one_that_loads_it_never_see_a_broken_pair(folder, tmp_path):
    known = hashes(4, tmp_path)
    for _ in range(rounds(1, share=20)):
        savers = [child(_save_some, folder, seed) for seed in range(4)]
        while any(saver.is_alive() for saver in savers):
            assert weight_hash(checkpoints.load(NAME, folder)) in known
        assert [saver.exitcode for saver in savers] == [0] * 4
        assert files(folder) == ["alone", f"{NAME}.json", f"{NAME}.safetensors"]
