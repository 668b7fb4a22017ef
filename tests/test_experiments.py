"""Laws of an experiment: one value, one folder, one command; what cannot be trained is one sentence before the work."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_film import TINY, moving

from vg import atomic, checkpoints, paths
from vg.data import save
from vg.evaluation.damage import DAMAGES
from vg.evaluation.pair import find_pair, open_pair
from vg.experiments import REGISTRY, Experiment, FilmData, ImageExperiment, train
from vg.experiments import run as running
from vg.experiments.batches import unpack_batch
from vg.experiments.config import ADDED, PriorPart, TokenizerPart, digest, scaled, to_json
from vg.experiments.experiment import shaped_as_begun
from vg.experiments.prior import adapted, new_prior, scene_names
from vg.experiments.run import Run, token_size
from vg.generate import main as generate_clips
from vg.models import Prior, VAEConfig
from vg.sampling import SAMPLING
from vg.train import main
from vg.training import Recipe


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("film") / "mine.mp4", moving(120), fps=12)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache for all: frames are decoded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def runs(monkeypatch, tmp_path):
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def done(film, cache, tmp_path_factory) -> Path:
    """The folder of a whole experiment on a film in colour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VG_RUNS", str(tmp_path_factory.mktemp("runs")))
        assert run("--film", film, *TINY) == 0
        return only_run()


def run(*arguments: object) -> int:
    return main([str(each) for each in arguments])


def error_of(capsys, *arguments: object) -> str:
    """The one sentence with which the command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    lines = said.splitlines()
    return lines[-1] if lines[-1].startswith("python -m vg.train: error: ") else said  # else the parser's own frame


def only_run() -> Path:
    [folder] = [path for path in paths.runs_dir().iterdir() if path.is_dir()]
    return folder


def test_one_command_leaves_a_folder_with_all_that_it_promises(done):
    assert done.name.startswith("mine-")
    due = {f"{part}.{end}" for part in ("tokenizer", "prior", "features") for end in ("json", "safetensors")}
    due |= {"reconstructions.gif", "continuations.gif", "labels.gif", "README.md", "numbers.json", "experiment.json"}
    assert due <= {path.name for path in done.iterdir()}
    tokenizer, prior = (checkpoints.load(part, done) for part in ("tokenizer", "prior"))
    assert tokenizer.config.channels == 3 and prior.grid == (4, 6), "in colour, and of the film's own aspect"
    said = json.loads((done / "experiment.json").read_text())
    assert checkpoints.card("prior", done).facts["experiment"] | {"name": "mine"} == said
    assert said["prior"]["width"] == 16 and said["data"]["size"] == 16
    numbers = json.loads((done / "numbers.json").read_text())
    assert (
        set(numbers) == {"tokenizer", "prior", "features"} and numbers["tokenizer"]["measured_on"] == "R, G and B alike"
    )
    text = (done / "README.md").read_text()
    assert "PSNR of reconstructions" in text and 'load("prior", where)' in text


@pytest.mark.parametrize("name", ["prior-64", "prior-128"])
def test_a_shipped_pair_draws_with_the_options_that_its_clips_were_measured_with(name):
    measured = checkpoints.card(name).facts["metrics"]["generated"]["sampling"]
    assert open_pair(name).options == {option: measured[option] for option in SAMPLING}


def test_figures_are_trained_where_they_are_asked_for(film):
    options = ["--figures.width", "8", "--figures.recipe.steps", "2", "--figures.batch", "2"]
    assert run("--film", film, *TINY, *options, "--parts", "tokenizer", "figures") == 0
    found = checkpoints.card("figures", only_run()).facts["metrics"]["validation"]
    assert set(found) == set(DAMAGES) and all(0 <= share <= 1 for share in found.values())
    assert checkpoints.load("figures", only_run()).guess(torch.rand(1, 1, 8, 8, 8))[1].shape == (1, len(DAMAGES))


def test_figures_without_a_tokenizer_are_refused(film, capsys):
    assert "figures need a tokenizer" in error_of(capsys, "--film", film, "--parts", "figures")


def test_the_reel_is_in_colour_with_the_original_beside(done):
    with Image.open(done / "reconstructions.gif") as gif:
        picture = np.asarray(gif.convert("RGB")).astype(int)
    H, W, _ = picture.shape
    rows, columns = 2 * (16 + 4), 2 * (24 + 4)
    assert W * rows == H * columns
    left = picture[:, : W // 2]
    assert (np.abs(left[..., 2] - left[..., 0]) > 80).mean() > 0.4, "the original is blue"


def test_the_reel_of_continuations_has_the_film_moving_to_the_end_beside(done):
    with Image.open(done / "continuations.gif") as gif:
        frames = []
        for k in range(gif.n_frames):
            gif.seek(k)
            frames.append(np.asarray(gif.convert("L")).astype(int))
    assert len(frames) == 24
    left = np.stack(frames)[:, :, : frames[0].shape[1] // 2]
    assert (np.abs(np.diff(left[16:], axis=0)) > 30).any(axis=(1, 2)).sum() >= 4


def test_a_model_for_every_rank_is_loaded_where_each_can_take_it(done, film, monkeypatch):
    at, seen = Run(Experiment(data=FilmData(film=(film,)))), []
    monkeypatch.setattr(running.checkpoints, "load", lambda *found: seen.append(found[-1]) or torch.nn.Linear(1, 1))
    monkeypatch.setattr(Run, "_is_done", lambda self, part: True)
    at.finished("tokenizer"), at.load("tokenizer")
    assert seen == ["cpu", running.device()]


def test_a_folder_of_an_experiment_makes_clips(done, film, tmp_path, capsys):
    pair = open_pair(str(done))
    assert pair.size == (16, 24) and not pair.grey and pair.fps == 12 and len(pair.scenes) == len(pair.store().shots)
    assert pair.first_frames(film, 5).shape == (1, 3, 5, 16, 24)
    assert pair.still(0).shape == (1, 3, 1, 16, 24)
    options = ["--frames", "24", "--count", "1", "--to", str(tmp_path)]
    assert generate_clips(["--model", str(done), *options]) == 0
    kinds = ("from-nothing", "continued", "from-a-still")
    assert {path.name for path in tmp_path.glob("*.gif")} == {f"{kind}-{done.name}-0.gif" for kind in kinds}
    with Image.open(tmp_path / f"continued-{done.name}-0.gif") as gif:
        assert gif.size == (24 * 16, 16 * 16) and gif.n_frames == 24
    with pytest.raises(SystemExit):
        generate_clips(["--model", str(tmp_path), *options])
    assert "no prior and no tokenizer yet" in capsys.readouterr().err


def test_a_folder_of_films_trains_one_generator_of_which_each_film_is_held_out_in_part(tmp_path, monkeypatch):
    clips = tmp_path / "clips"
    for k, name in enumerate(("b.mp4", "a.mp4")):
        save(clips / name, moving(100 + 10 * k), fps=12)
    monkeypatch.setattr(running.training, "fit", lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(pytest.fail.Exception, match="it began"):
        run("--film", clips, *TINY)
    footage = Run(Experiment(data=FilmData(film=(clips,), size=16))).footage
    assert len(footage.store.frames) == 210 and footage.size == (16, 24) and footage.channels == 3
    assert {start >= 110 for start, _ in footage.split.held_out} == {True, False}, "a part of either"


def test_the_same_command_again_makes_nothing_anew_and_another_config_has_another_folder(done, film, monkeypatch):
    monkeypatch.setenv("VG_RUNS", str(done.parent))
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.*") if path.suffix != ".lock"}
    assert run("--film", film, *TINY) == 0 and only_run() == done
    kept = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name for path in before if kept[path] != before[path]} == {"experiment.json"}
    config = Experiment(data=FilmData(film=(film,)))
    others = [
        replace(config, scale=0.5), replace(config, seed=1), replace(config, prior=PriorPart(width=64)),
        replace(config, data=replace(config.data, size=32)), replace(config, data=replace(config.data, fps=6.0)),
    ]  # fmt: skip
    assert len({Run(each).folder for each in [config, *others]}) == 6


def test_a_film_that_moved_is_the_same_experiment_and_one_that_changed_is_not(film, tmp_path):
    moved, changed = tmp_path / film.name, save(tmp_path / "b" / film.name, moving(90), fps=12)
    shutil.copy(film, moved)
    folders = [Run(Experiment(data=FilmData(film=(path,)))).folder for path in (film, moved, changed)]
    assert folders[0] == folders[1] != folders[2]


def test_a_stopped_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(done, film, monkeypatch, capsys):
    fit = running.training.fit
    monkeypatch.setattr(running.training, "fit", lambda *a, **k: replace(fit(*a, **k, stop_at=2), stopped=True))
    command = ["--film", film, *TINY, "--parts", "tokenizer"]
    assert run(*command) == 130 and "goes on" in capsys.readouterr().err
    assert not (only_run() / "tokenizer.json").exists(), "nothing half-trained has a card"
    steps = []

    def counted(model, loss, batches, recipe, **options):
        return fit(model, loss, lambda generator: (steps.append(1), batches(generator))[1], recipe, **options)

    monkeypatch.setattr(running.training, "fit", counted)
    assert run(*command) == 0 and len(steps) == 2, "the last two of four"
    ours, theirs = (checkpoints.load("tokenizer", folder).state_dict() for folder in (only_run(), done))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_second_of_two_identical_runs_says_so_and_stops(film, capsys):
    default = Experiment(data=FilmData(film=(film,)))
    with atomic.locked(Run(default).folder, "training"):
        assert "another process is training mine" in error_of(capsys, "--film", film)
        assert list(paths.runs_dir().glob("*/*")) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["prior-65"], "prior-64"),
        (["--film", "none.mp4"], "no file"),
        (["--scale", "0"], "scale is 0"),
        (["--prior.reach", "0"], "reach from 1"),
        (["--prior.alibi-multiplier", "0"], "alibi_multiplier above 0"),
        (["--prior.recipe.lr", "-1"], "lr is -1"),
        (["--parts", "prior"], "tokenizer.use"),
        (["--from", "tubelet-46"], "tubelet-fsq-64"),
        (["--parts", "prior", "--tokenizer.use", "nothing"], "tubelet-fsq-64"),
        (["--name", "a/b"], "'a/b'"),
        (["--name", ".a"], "'.a'"),
        (["--size", "0"], "size is 0"),
        (["--size", "64", "-64"], "size is (64, -64)"),
        (["--sampling.frames", "16"], "16 are given"),
        (["--sampling.measured", "0"], "1 or more"),
        (["--sampling.temperature", "0"], "temperature is 0"),
        (["--sampling.guidance", "1000"], "at most 100"),
        (["--prior.width", "190"], "no multiple of 4 heads"),
        (["--features.batch", "0"], "features.batch is 0"),
        (["video-fsqvae-64", "--tokenizer.search-steps", "20"], "search_steps at 0"),
        (["video-fsqvae-64", "--parts", "tokenizer", "prior"], "train a VideoConfig one alone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_sentence(wrong, said, film, capsys):
    film = [] if "--film" in wrong or wrong[0] == "prior-65" else ["--film", film]
    assert said in error_of(capsys, *wrong, *film)
    assert not paths.runs_dir().exists()


def test_too_little_film_is_refused_with_what_would_do_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running.training, "fit", lambda *_, **__: pytest.fail("it began"))
    short = save(tmp_path / "short.mp4", moving(60), fps=12)
    assert "7 seconds" in error_of(capsys, "--film", short, *TINY)
    enough = save(tmp_path / "enough.mp4", moving(84), fps=12)
    with pytest.raises(pytest.fail.Exception, match="it began"):
        run("--film", enough, *TINY)


@pytest.mark.parametrize(
    ("damaged", "options"),
    [
        ("tokenizer", ["--from"]),
        ("prior", ["--from"]),
        ("tokenizer", ["--parts", "features", "prior", "--tokenizer.use"]),
        ("features", ["--parts", "tokenizer", "prior", "--features.use"]),
    ],
)
def test_damaged_models_are_refused_before_anything_is_trained(
    damaged, options, done, film, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(running.training, "fit", lambda *_, **__: pytest.fail("it began"))
    pair = Path(shutil.copytree(done, tmp_path / "pair"))
    (pair / f"{damaged}.safetensors").write_bytes(b"")
    assert "not what its card describes" in error_of(capsys, "--film", film, *TINY, *options, pair)
    assert not paths.runs_dir().exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--parts", "tokenizer", "prior", "--features.use", "prior-64"], "prior-64 is a Prior, and features"),
        (["--parts", "features", "prior", "--tokenizer.use", "video-vqvae-64"], "is a VideoAutoencoder, and tokenizer"),
        (["--parts", "figures", "--tokenizer.use", "prior-64"], "prior-64 is a Prior, and token"),
        (["--parts", "features", "prior", "--tokenizer.use", "vqvae2-cifar10"], "is a VQVAE2, and tokenizer"),
    ],
)
def test_a_model_of_another_kind_is_refused_before_anything_is_trained(options, said, film, monkeypatch, capsys):
    monkeypatch.setattr(running.training, "fit", lambda *_, **__: pytest.fail("it began"))
    assert said in error_of(capsys, "--film", film, *TINY, *options)


def test_shapes_are_read_from_cards_alone(done, monkeypatch):
    pair = {part: checkpoints.load(part, done) for part in ("tokenizer", "prior")}
    monkeypatch.setattr(checkpoints, "load", lambda *_, **__: pytest.fail("weights were loaded"))
    begun = shaped_as_begun(Experiment(begin=str(done)))
    assert begun.tokenizer.model == pair["tokenizer"].config and begun.prior.width == pair["prior"].config.width
    used = Experiment(tokenizer=TokenizerPart(use=str(done)), parts=("prior",))
    for experiment in (used, Experiment(begin=str(done))):
        assert token_size(Run(experiment)) == pair["tokenizer"].tubelet[1:]


def test_a_pair_is_trained_on_from_and_another_grid_is_adapted(done, film, tmp_path, monkeypatch, capsys):
    wide = save(tmp_path / "wide.mp4", moving(90, 32, 64), fps=12)
    begun = {}

    def fit(model, *_, **__):
        begun[type(model).__name__] = {k: v.clone() for k, v in model.state_dict().items()}
        raise KeyboardInterrupt

    monkeypatch.setattr(running.training, "fit", fit)
    assert run("--film", wide, *TINY, "--from", done) == 130
    tokenizer = checkpoints.load("tokenizer", done).state_dict()
    assert all(torch.equal(begun["TubeletTokenizer"][name], value) for name, value in tokenizer.items())
    grey = save(tmp_path / "grey.mp4", moving(90, colour=False), fps=12)
    assert "--colour True" in error_of(capsys, "--film", grey, *TINY, "--from", done)


def test_what_a_prior_of_any_shape_can_do_is_trained_on_with_another_film(done, tmp_path, monkeypatch):
    old = checkpoints.load("prior", done)
    able = {"places": "coordinates", "directions": True, "goals": 2, "num_labels": 3, "layouts": True, "reach": 3}
    checkpoints.save("prior", Prior(replace(old.config, **able)), {}, tmp_path / "any")
    wide, begun = save(tmp_path / "wide.mp4", moving(90, 32, 64), fps=12), []

    def fit(*inputs, **_):
        begun.extend(inputs[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(running.training, "fit", fit)
    use = "--parts", "prior", "--tokenizer.use", done, "--from", tmp_path / "any"
    assert run("--film", wide, *TINY, *use) == 130
    stated = json.loads((only_run() / "experiment.json").read_text())["prior"]
    kept = stated["goals"], stated["directions"], stated["reach"], stated["width"]
    assert kept == (2, True, 3, old.config.width), "what is, not asked"
    prior, loss, batches = begun
    assert prior.grid == (4, 8) and prior.config == replace(old.config, **able | {"grid": (4, 8), "num_labels": 1})
    before, now = (model.state_dict() for model in (checkpoints.load("prior", tmp_path / "any"), prior))
    taken = [name for name in before if name != "label_embedding.weight" and name != "layouts"]
    assert all(torch.equal(before[name], now[name]) for name in taken)
    drawn = [batches(torch.Generator().manual_seed(k)) for k in range(40)]
    ways = {way for tokens, _, way in map(unpack_batch, drawn) if tokens.shape[1] > 1}
    assert ways == {0, 1}, "it is told which way a clip runs, as before"
    loss(prior, drawn[0]).backward()
    assert prior.goal.ahead.weight.grad.any() and prior.place.network[0].weight.grad.any()


def test_a_prior_for_another_grid_keeps_its_weights_and_forgets_its_labels(done):
    prior = checkpoints.load("prior", done, trainable=True)
    cache = SimpleNamespace(levels=prior.levels, grid=(8, 12), shots=[0] * 5)
    made = adapted(prior, cache)
    assert made.grid == (8, 12) and made.config.num_labels == 5 and made.labels_with_layouts() == []
    assert all(torch.equal(a, b) for a, b in zip(made.layers.parameters(), prior.layers.parameters()))
    old, new = prior.place.view(4, 6, -1), made.place.view(8, 12, -1)
    torch.testing.assert_close(new.mean((0, 1)), old.mean((0, 1)), atol=1e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="one pair"):
        adapted(prior, SimpleNamespace(levels=(3, 3), grid=(8, 12), shots=[0]))


def test_a_shipped_pair_is_found_by_either_name_and_a_folder_by_its_path(done):
    pair = find_pair("tubelet-fsq-64")
    assert pair == find_pair("prior-64") and {part: name for part, (name, _) in pair.items()} == {
        "tokenizer": "tubelet-fsq-64",
        "prior": "prior-64",
    }
    assert find_pair(str(done)) == {"tokenizer": ("tokenizer", done), "prior": ("prior", done)}


def test_a_scaled_recipe_has_its_share_of_the_steps_and_a_warm_up_that_fits():
    recipe = Recipe(steps=1000, warmup=50)
    for scale, steps, warmup in ((1, 1000, 50), (0.1, 100, 10), (0.001, 1, 1), (2, 2000, 50)):
        made = scaled(recipe, Experiment(scale=scale, seed=3))
        assert (made.steps, made.warmup, made.seed) == (steps, warmup, 3)


@pytest.mark.parametrize(("steps", "least", "most"), [(1, 1, 1), (3, 3, 3), (60, 5, 6), (500, 5, 6), (5000, 20, 20)])
def test_short_runs_are_measured_several_times_and_long_ones_not_often(steps, least, most):
    every = running.measured_every(steps)
    assert least <= len({*range(every, steps + 1, every), steps}) <= most


def clock(monkeypatch, run: Run, steps: int, begun: int = 0) -> None:
    """All of a part's training from step ``begun`` on, where the first step takes a minute and each other one 3 s."""
    now = [0.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    watch = running._Clock(run, steps)
    for step in range(begun + 1, steps + 1):
        now[0] += 60 if step == begun + 1 else 3
        watch.update({"loss": [(step, 1.0)]})
    watch.update({"loss": [(steps, 1.0)]})  # as ``fit`` does at its end


def test_after_twenty_steps_it_says_how_long_the_part_takes_and_what_comes_on_top(monkeypatch, capsys):
    experiment = Experiment()
    clock(monkeypatch, Run(experiment, "tokenizer", ("features", "prior")), 221)
    assert capsys.readouterr().out == (
        "tokenizer: 200 of 221 steps to go, about 10 minutes. On top of it: to measure it and the whole of features "
        "and the whole of prior.\n"
    )
    clock(monkeypatch, Run(experiment, "prior"), 1000, begun=939)
    assert capsys.readouterr().out == (
        "prior: 40 of 1,000 steps to go, about 2 minutes. On top of it: to measure it.\n"
    ), "gone on from step 939"
    clock(monkeypatch, Run(experiment, "prior"), 21)
    assert capsys.readouterr().out == "", "it is over"


def test_what_comes_later_is_what_is_trained_later(film, monkeypatch):
    seen = {}

    def trained(run):
        seen[run.part] = run.later

    monkeypatch.setattr(
        "vg.experiments.experiment.TRAINERS", dict.fromkeys(("tokenizer", "features", "prior"), trained)
    )
    monkeypatch.setattr(Run, "save", lambda run, part: None)
    monkeypatch.setattr("vg.experiments.experiment.write_report", lambda run: None)
    assert run("--film", film, "--parts", "prior", "tokenizer") == 0
    assert seen == {"tokenizer": ("prior",), "prior": ()}


def test_the_hash_is_of_all_that_an_experiment_says(film):
    one = ImageExperiment("a", VAEConfig(), Recipe(steps=5))
    assert digest(one) == digest(replace(one, name="b")) != digest(replace(one, batch=3))
    assert digest(one, "1") != digest(one, "2")
    assert json.loads(json.dumps(to_json(one))) == to_json(one)


def test_a_field_added_later_counts_where_it_is_set_and_older_hashes_stay(done, film):
    one, older = Experiment(), json.loads((done / "experiment.json").read_text())["prior"]
    assert to_json(one)["prior"].keys() == older.keys() and not ADDED.keys() & older.keys()
    assert {name: getattr(PriorPart(), name) for name in ADDED} == ADDED, "what older runs had is what is not said"
    hashes = {digest(replace(one, prior=part)) for part in (PriorPart(reach=3), PriorPart(alibi_multiplier=2.0))}
    assert len(hashes | {digest(one)}) == 3
    cache = SimpleNamespace(levels=(5, 4), grid=(2, 3), shots=[0])
    config = new_prior(PriorPart(reach=3, alibi_multiplier=2.0), cache).config
    assert (config.reach, config.alibi_multiplier) == (3, 2.0)


def test_models_are_published_under_the_names_that_they_are_known_by(done, film, tmp_path, monkeypatch):
    monkeypatch.setenv("VG_RUNS", str(done.parent))
    assert run("--film", film, *TINY, "--to", tmp_path / "all") == 0
    assert checkpoints.names(tmp_path / "all") == ["mine-features", "mine-prior", "mine-tokenizer"]
    assert checkpoints.card("mine-prior", tmp_path / "all").facts["tokenizer"]["name"] == "mine-tokenizer"


@pytest.mark.parametrize("name", REGISTRY)
def test_every_shipped_name_is_an_experiment_whose_first_step_runs(name, monkeypatch):
    """On the drawn cartoon and on drawings, one step of two of a batch; what follows is not measured."""
    monkeypatch.setenv("VG_PROFILE", "smoke")
    experiment = REGISTRY[name]
    seen = []

    def fit(model, loss, batches, recipe, **options):
        batch = batches(torch.Generator().manual_seed(0))[:1]
        value = loss(model.train(), batch)
        value.backward()
        seen.append((recipe.steps, float(value)))
        raise KeyboardInterrupt

    monkeypatch.setattr(running.training, "fit", fit)
    assert run(name) == 130
    assert seen[0][0] > 1000 and torch.tensor(seen[0][1]).isfinite()
    assert only_run().name.startswith(f"{name}-") and experiment.name == name


def test_names_of_scenes_are_as_many_as_the_shots():
    store = SimpleNamespace(name="mine", shots=[(0, 5), (5, 9)])
    assert scene_names(FilmData(), store) == ["shot-1", "shot-2"]


def test_a_film_of_ones_own_has_no_scenes_of_steamboat_willie():
    store = SimpleNamespace(name="film", shots=[(0, 5)] * 28)
    assert scene_names(FilmData(), store)[0] == "boat"
    assert scene_names(FilmData(film=(Path("film.mp4"),)), store)[0] == "shot-1"


def test_channels_are_the_films(film, capsys):
    assert "the channels are the film's" in error_of(capsys, "--film", film, *TINY, "--tokenizer.channels", "2")


def test_work_that_processes_cannot_share_is_refused_before_the_film_is_looked_at(monkeypatch):
    monkeypatch.setattr(running.devices, "world_size", lambda: 2)
    monkeypatch.setattr(running, "open_footage", lambda *_: pytest.fail("the film was opened"))
    for name in REGISTRY:
        with pytest.raises(running.devices.CannotShare, match="--micro-batches"):
            train(REGISTRY[name])
