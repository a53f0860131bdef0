# ruff: noqa: E402
"""Backbones pre-trained on captioned pictures: what is learnt, how it is measured, and that a run resumes and loads."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("torchmetrics")
from PIL import Image
from safetensors.torch import load_file
from transformers import ResNetBackbone, SwinBackbone

from seggen_d2.engine.checkpoint import load_network
from seggen_d2.engine.pretraining import run
from seggen_d2.engine.pretraining.measure import report, word_precision
from seggen_d2.engine.pretraining.options import BackboneOptions, Solver
from seggen_d2.engine.pretraining.pictures import captioned_pictures, split
from seggen_d2.engine.pretraining.words import in_singular, vocabulary, word_labels, words_of
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import build_mask2former
from seggen_d2.modeling.backbone_weights import backbone_state, holds_backbone, load_backbone, whole_model
from seggen_d2.modeling.finished import SHIPPED, final_model
from seggen_d2.sources.caption_table import write_captions

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}
SMALL = {"encoder_layers": 1, "decoder_layers": 1, "feature_size": 32, "mask_feature_size": 32, "heads": 2, "queries": 4, "points": 32,
         "feedforward_size": 32, "encoder_feedforward_size": 32}
KINDS = {"tiny-resnet": ResNetBackbone, "tiny-swin": SwinBackbone}
TINY = {"tiny-resnet": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}, "tiny-swin": {"embed_dim": 12, "depths": [1, 1, 1, 1]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 plain pictures, each captioned by its colour and, at random, by a word that nothing shows."""
    place, rng, captions = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), {}
    (place / "images").mkdir()
    for number in range(60):
        name = list(COLOURS)[number % 3]
        pixels = np.clip(np.array(COLOURS[name]) + rng.normal(0, 9, (24, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / "images" / f"p{number:02d}.png")
        captions[f"p{number:02d}"] = [f"A {name} wall", "a sunday" if rng.random() < 0.5 else "a monday"]
    write_captions(place / "captions.parquet", captions)
    return place


def options(folder, backbone="tiny-resnet", steps=30, **solver):
    return BackboneOptions(str(folder), Solver(steps, batch=8, learning_rate=5e-3, warmup_steps=3, checkpoint_every=10, device="cpu", **solver),
                           backbone=backbone, backbone_options=TINY[backbone], min_pictures=3, held_out=0.3, sizes=(24, 28), crop=24)


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("backbone")
    return output, run.pretrain(options(folder), output)


def test_words_and_runs_of_words():
    assert words_of(["A red-brick House, and two trees", "at 9 o'clock"]) == {"red", "brick", "house", "two", "trees", "o", "clock"}
    assert words_of(["a red and white striped house, two trees"], 2) == {
        "red", "white", "striped", "house", "two", "trees", "white striped", "striped house", "two trees"}


def test_plurals_of_known_words_count_as_them():
    found = words_of(["two red cars, much grass, a bus"], 2)
    assert in_singular(found, {"car", "red"}) == {"two", "red", "car", "two red", "red car", "much", "grass", "much grass", "bus"}


def test_the_vocabulary_leaves_out_what_tells_nothing():
    pictures = [words_of([f"a {colour} {thing} scene"], 2) for colour in ("red", "blue") for thing in ("house", "car")]
    words = vocabulary(pictures, min_pictures=1, max_share=0.9)  # all hold "scene"
    assert words == ("blue", "blue car", "blue house", "car", "car scene", "house", "house scene", "red", "red car", "red house")
    assert vocabulary(pictures, min_pictures=2, max_share=0.9) == ("blue", "car", "car scene", "house", "house scene", "red")
    labels = word_labels(pictures, words)
    assert labels.dtype == np.float32 and labels.sum(1).tolist() == [4] * 4 and labels[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 1]
    with pytest.raises(SegGenError, match=r"no word(.|\n)*min_pictures"):
        vocabulary(pictures, min_pictures=5, max_share=0.9)


def test_precision_is_whole_when_sure_and_the_base_rate_when_guessing():
    labels = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]]).float()
    sure, blind = (word_precision(scores, labels, ["a", "b", "c"]) for scores in (labels * 2 - 1, torch.zeros(4, 3)))
    assert sure["mean_average_precision"] == 100 and sure["words"] == 2  # the third is in all: nothing to tell apart
    assert blind["mean_average_precision"] == blind["base_rate"] == sure["base_rate"] == 25
    assert "25.0" in report(blind)


def test_held_out_pictures_follow_from_names_alone(folder):
    records = captioned_pictures(folder)
    assert len(records) == 60 and records[0]["captions"][0] == "A red wall"
    learnt, held = split(records, 0.3)
    again = split(records[::-1], 0.3)[1]
    assert 8 <= len(held) <= 28 and {r["image_id"] for r in held} == {r["image_id"] for r in again} and len(learnt) + len(held) == 60
    assert [r["image_id"] for r in captioned_pictures(folder, limit=2)] == ["p00", "p01"]


def test_a_dataset_serves_without_its_labels_being_read(folder, tmp_path):
    (tmp_path / "masks").mkdir()
    for file in (folder / "images").iterdir():
        (tmp_path / "masks" / file.name).write_bytes(b"no label map")
    (tmp_path / "dataset.yaml").write_text(f"name: walls\nimages: {folder / 'images'}\nmasks: masks\ncategories: [wall]\n")
    named = captioned_pictures(tmp_path / "dataset.yaml", folder / "captions.parquet")
    assert named == captioned_pictures(folder)


def test_it_learns_what_shows_and_not_what_does_not(trained):
    _, facts = trained
    of = facts["held_out"]["of"]
    assert all(of[name][0] > 95 for name in COLOURS) and of["red"][1] < 60
    assert facts["held_out"]["mean_average_precision"] > facts["held_out"]["base_rate"] + 15
    assert set(facts["words"]) == {*COLOURS, "sunday", "monday"} and facts["learnt_from"] + facts["held_out"]["pictures"] == 60


def test_the_folder_opens_by_itself_and_tells_its_facts(trained):
    output, facts = trained
    network = ResNetBackbone.from_pretrained(output)
    assert len(network.channels) == 4 and network.dtype == torch.float32
    assert json.loads((output / "backbone.json").read_text()) == json.loads(json.dumps(facts))
    assert json.loads((output / "preprocessor_config.json").read_text())["size"] == {"height": 24, "width": 24}
    assert whole_model(str(output)) == whole_model("") == "" and whole_model("some/run") == "some/run"  # nobody evaluates a backbone
    assert holds_backbone(output) and final_model(output) == final_model(output, "detectron2") == str(output)


@pytest.mark.parametrize("backbone", TINY)
def test_a_segmenter_starts_from_it_statistics_included(folder, tmp_path, backbone, trained):
    output = trained[0] if backbone == "tiny-resnet" else tmp_path
    if backbone != "tiny-resnet":
        run.pretrain(options(folder, backbone, steps=2), output)
    model = build_mask2former(3, backbone=backbone, backbone_options=TINY[backbone], **SMALL)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    load_network(model, output)
    own, loaded = model.backbone.state_dict(), KINDS[backbone].from_pretrained(output).state_dict()
    assert own.keys() == loaded.keys() and all(torch.equal(own[name], loaded[name]) for name in own)
    if backbone == "tiny-resnet":
        assert own["embedder.embedder.normalization.num_batches_tracked"] == 30
        assert own["embedder.embedder.normalization.running_mean"].abs().sum() > 0
    rest = [name for name in before if ".encoder." not in name.replace("decoder.encoder", "") or "decoder" in name]
    assert rest and all(torch.equal(before[name], model.network.state_dict()[name]) for name in rest)
    state = backbone_state(output)
    assert state.keys() <= before.keys() and all(torch.equal(value, model.network.state_dict()[name]) for name, value in state.items())


def test_a_stopped_run_goes_on_to_the_same_weights(folder, trained, tmp_path, monkeypatch):
    output, facts = trained
    stops = iter([True, False])

    def stopping(*args, **kwargs):
        trainer = run_trainer(*args, **kwargs)
        if next(stops):
            stop = trainer.callback_handler.callbacks[-1]
            trainer.on_log = lambda entry: None
            trainer.loader = StopsAt(trainer.loader, 13, stop)
        return trainer

    run_trainer = run.WordTrainer
    monkeypatch.setattr(run, "WordTrainer", stopping)
    with pytest.raises(KeyboardInterrupt):
        run.pretrain(options(folder), tmp_path)
    assert (tmp_path / "state/checkpoint-13").is_dir() and not (tmp_path / "model.safetensors").exists()
    assert not list(tmp_path.rglob("training_args.bin"))
    again = run.pretrain(options(folder), tmp_path)
    one, other = (load_file(place / "model.safetensors") for place in (output, tmp_path))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert again["held_out"] == facts["held_out"]


class StopsAt:
    """A loader that asks for a stop while batch ``number`` is read."""

    def __init__(self, loader, number, stop):
        self.loader, self.number, self.stop, self.dataset = loader, number, stop, loader.dataset

    def __iter__(self):
        for number, batch in enumerate(self.loader, 1):
            self.stop.stopped = self.stop.stopped or number == self.number
            yield batch


def test_a_finished_folder_is_told_and_another_runs_is_refused(folder, trained, monkeypatch):
    output, facts = trained
    monkeypatch.setattr(run, "train", None)
    assert run.pretrain(options(folder), output) == json.loads(json.dumps(facts))
    with pytest.raises(SegGenError, match=r"begun with other options(.|\n)*solver"):
        run.pretrain(options(folder, steps=31), output)


def test_what_does_not_fit_is_refused(folder, trained, tmp_path):
    output, _ = trained
    other = build_mask2former(3, backbone="tiny-resnet", **SMALL)
    with pytest.raises(SegGenError, match=r"MODEL.WEIGHTS(.|\n)*MODEL.BACKBONE.NAME"):
        load_backbone(other, output)
    with pytest.raises(SegGenError, match="MODEL.WEIGHTS"):
        load_backbone(build_mask2former(3, backbone="tiny-swin", **SMALL), output)
    shutil.copytree(output, tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").write_bytes((output / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(SegGenError, match="MODEL.WEIGHTS"):
        backbone_state(tmp_path / "cut")
    with pytest.raises(SegGenError, match="no such folder"):
        captioned_pictures(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SegGenError, match="a folder without any"):
        captioned_pictures(tmp_path / "empty")
    write_captions(tmp_path / "few.parquet", {"p00": "a red wall"})
    with pytest.raises(SegGenError, match="lack 59 images"):
        captioned_pictures(folder, tmp_path / "few.parquet")
    with pytest.raises(SegGenError, match="too few"):
        split(captioned_pictures(folder, limit=3), 0.05)
    with pytest.raises(SegGenError, match="backbone is not known"):
        BackboneOptions("x", Solver(1), backbone="resnet5")
    with pytest.raises(SegGenError, match="solver.steps"):
        Solver(0)


def test_the_shipped_ones_are_there():
    for name in SHIPPED:
        model = build_mask2former(8, backbone="tiny-resnet", **SMALL)
        load_network(model, name)
        kept = load_file(f"{final_model(name)}/model.safetensors")
        assert all(torch.equal(value, model.backbone.state_dict()[key]) for key, value in kept.items())
