"""What of masks survives colours and a VAE: with trips whose damage is known, and the toy base's VAE."""

import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from coco_samples import write_coco

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.__main__ import main
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.judging.survival import dataset_survival, measure_survival
from seggen_d2.generators.judging.survival_report import ClassSurvival, Survival, survival_text
from seggen_d2.generators.judging.vae_trip import open_vae
from seggen_d2.segmentation import default_palette
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.sources import load_dataset

ROOT = Path(__file__).parents[1]
TOY = Path(str(resources.files("seggen_d2.generators") / "toy_base"))


@pytest.fixture(scope="module")
def toy(toy_folder):
    return load_dataset(toy_folder / "dataset.yaml")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("coco"))


def codec_of(source, **edges):
    return mask_codec(source.task, default_palette(len(source.categories)), source.categories, **edges)


def by_name(found):
    return {c.name: c for c in found.classes}


def test_nothing_is_lost_on_a_trip_that_changes_nothing(toy):
    found = measure_survival(toy, codec_of(toy), Geometry(32, 32), lambda rgb: rgb)
    assert found.score == found.without_vae == 100 and found.masks == 6
    held = [c for c in found.classes if c.objects]
    assert held and all(c.survived == c.objects and c.taken_for == "" and not c.lost for c in held)
    assert sum(objects for _, _, objects, _ in found.sizes) == sum(c.objects for c in held) and found.safe_from == found.sizes[0][0]
    assert "no class falls under IoU 50" in survival_text(found)


def test_classes_taken_for_one_another_are_to_be_merged(toy):
    """The trip paints road as water."""
    palette, names = default_palette(len(toy.categories)).colors, toy.categories.names
    road, water = (palette[names.index(name)] for name in ("road", "water"))

    def trip(rgb):
        return np.where((rgb == road).all(-1, keepdims=True), water, rgb).astype(np.uint8)

    found = measure_survival(toy, codec_of(toy), Geometry(32, 32), trip)
    lost = by_name(found)["road"]
    assert lost.score == 0 and lost.without_vae == 100 and lost.lost and (found.merge_with(lost), lost.taken_share) == ("water", 1.0)
    assert lost.survived == 0 and lost.smallest is None and found.score < 100
    assert "road: 100% of it comes back as water: merge the two" in survival_text(found)


def test_small_objects_that_vanish_are_told(toy):
    """The trip repeats each 8 x 8 square's first pixel."""
    found = measure_survival(toy, codec_of(toy), Geometry(32, 32), lambda rgb: rgb[:, ::8, ::8].repeat(8, 1).repeat(8, 2))
    assert found.score < 90 and found.smallest > 1
    shares = [came / objects for _, _, objects, came in found.sizes]
    assert shares[0] < shares[-1] and (found.safe_from is None or found.safe_from > found.sizes[0][0])


def test_a_class_lost_by_size_is_not_to_be_merged_and_one_gone_before_is_told():
    ball = ClassSurvival("ball", 0.0, 90.0, 9, 0, None, 5.0, "tree", 1.0, 4)
    fence = ClassSurvival("fence", None, None, 0, 0, None, None, "", 0.0, 7)
    tree = ClassSurvival("tree", 95.0, 100.0, 20, 20, 12.0, 40.0, "", 0.0, 9)
    never = ClassSurvival("never", None, None, 0, 0, None, None, "", 0.0, 0)
    found = Survival("semantic", 9, 47.5, 95.0, (ball, fence, tree, never), ((4, 8, 9, 0), (32, 64, 20, 20)))
    text = survival_text(found)
    assert "will lose 2 of 3 classes" in text and "ball: its objects are small" in text and "merge the two" not in text
    assert "fence: nothing is left of it at the working size, though 7 images hold it" in text
    assert [c["gone"] for c in found.to_json()["classes"]] == [False, True, False, False]


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_come_back_by_pq_and_crowds_count_nowhere(coco, task):
    source = load_dataset(coco[task])
    found = measure_survival(source, codec_of(source, edge_width=1), Geometry(160, 224), lambda rgb: rgb)
    classes = by_name(found)
    assert classes["person"].objects == 3 and classes["train"].objects >= 3  # a person an image, and no crowd
    assert classes["person"].survived == 3 and found.task == task and found.score == found.without_vae > 60
    blank = measure_survival(source, codec_of(source), Geometry(160, 224), np.zeros_like)
    assert blank.score == 0 and blank.smallest is None and blank.safe_from is None
    assert all(c.lost and not blank.merge_with(c) for c in blank.classes if c.objects)
    assert "no object comes back; there is no size" in survival_text(blank) and "this method will lose" in survival_text(blank)


def test_views_and_limits_are_the_generators_own(toy):
    assert measure_survival(toy, codec_of(toy), Geometry(16, 16, max_shrink=1.0), lambda rgb: rgb, limit=2).masks == 2 * 9
    assert measure_survival(toy, codec_of(toy), Geometry(32, 32), lambda rgb: rgb, limit=4).masks == 4


def test_a_vae_is_found_in_a_base_and_alone(tmp_path):
    trip = open_vae("toy", "cpu")
    assert (trip.factor, trip.side) == (2, 48) and trip.geometry() == Geometry(pixels=48 * 48, multiple=4)
    assert trip.geometry(768) == Geometry(multiple=64) and trip.vae.dtype.is_floating_point and not trip.vae.training
    shutil.copytree(TOY / "vae", tmp_path / "alone")
    alone = open_vae(str(tmp_path / "alone"), "cpu")
    assert alone.side == 768
    rgb = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)
    back = alone(rgb)
    assert back.shape == rgb.shape and back.dtype == np.uint8 and np.array_equal(back, trip(rgb))


def test_what_is_no_vae_is_told(tmp_path):
    with pytest.raises(SegGenError, match="neither config.json nor"):
        open_vae(str(tmp_path))
    shutil.copytree(TOY / "unet", tmp_path / "unet_alone")
    with pytest.raises(SegGenError, match="holds a UNet2DConditionModel"):
        open_vae(str(tmp_path / "unet_alone"))
    shutil.copytree(TOY / "vae", tmp_path / "cut" / "vae")
    weights = tmp_path / "cut" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SegGenError, match="VAE .*cut cannot be opened"):
        open_vae(str(tmp_path / "cut"))


def test_the_toy_vae_keeps_the_toy_world(toy_folder):
    found = dataset_survival(toy_folder / "dataset.yaml", "toy", limit=3, device="cpu")
    assert found.masks == 3 and 60 < found.score < 100 and found.without_vae == 100
    with pytest.raises(SegGenError, match="limit is out of range"):
        dataset_survival(toy_folder / "dataset.yaml", "toy", limit=-1)


def test_the_command_prints_and_writes(coco, tmp_path, monkeypatch, capsys):
    words = ["generators", "survival", "--dataset", str(coco["panoptic"]), "--vae", "toy", "--device", "cpu", "--json", str(tmp_path / "s.json")]
    monkeypatch.setattr(sys, "argv", words)
    main()
    written = json.loads((tmp_path / "s.json").read_text())
    assert "mean PQ" in capsys.readouterr().out and written["masks"] == 3
    assert {c["name"] for c in written["classes"]} == {"person", "train", "sky"}
    monkeypatch.setattr(sys, "argv", [*words, "--edge-width", "9"])
    with pytest.raises(SegGenError, match="edge_width is out of range"):
        main()
    told = subprocess.run([sys.executable, "-m", "seggen_d2.generators", "survival", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0 and "--dataset" in told.stdout  # as the check of a dataset calls it
