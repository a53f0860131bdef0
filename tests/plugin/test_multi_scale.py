# ruff: noqa: E402
"""Multi-scale testing against Mask2Former's SemanticSegmentorWithTTA on real Detectron2: the same scores, bit for bit."""

import copy
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from detectron2.data import detection_utils
from torch import nn

from seggen_d2.engine.multi_scale import MultiScale
from seggen_d2.evaluation import score_folder
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import load_yaml
from seggen_d2.plugin.training.command import Arguments, run

from .mask2former_pair import CLASSES, build, config
from .training_world import STOCK, write_toy

SIZES = (33, 48, 80, 64)
DATA = Path(__file__).parents[3] / "shared/data/ade20k_sample/images"


class Pixels(nn.Module):
    """Scores of three classes that are the colours themselves, as a model gives them: at the file's size."""

    def forward(self, samples):
        return [{"sem_seg": nn.functional.interpolate(s["image"][None].float(), (s["height"], s["width"]), mode="bilinear")[0]} for s in samples]


def photo(height, width, seed=0):
    """Smooth noise, so that a wrong filter or an image turned around shows."""
    draw = torch.rand((1, 3, 7, 9), generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(draw, (height, width), mode="bicubic")[0].clamp(0, 1) * 255).to(torch.uint8)


def theirs(model, sizes, max_size, flip):
    upstream = pytest.importorskip("mask2former.test_time_augmentation")
    cfg = config()
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE, cfg.TEST.AUG.FLIP = sizes, max_size, flip
    return upstream.SemanticSegmentorWithTTA(cfg, model)


def same(model, samples, sizes=SIZES, max_size=4000, flip=True):
    before = copy.deepcopy(samples)
    expected, found = theirs(model, sizes, max_size, flip)(samples), MultiScale(model, sizes, max_size, flip)(samples)
    assert all(torch.equal(sample["image"], old["image"]) and sample.keys() == old.keys() for sample, old in zip(samples, before))
    assert [one["sem_seg"].shape[1:] for one in found] == [(sample["height"], sample["width"]) for sample in samples]
    return all(one.keys() == {"sem_seg"} and torch.equal(one["sem_seg"], other["sem_seg"]) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("max_size", [4000, 90])
def test_the_views_and_their_mean_are_upstreams(flip, max_size):
    samples = [{"image": photo(*size, seed), "height": size[0] + 7, "width": size[1] + 3, "file_name": "a.jpg"}
               for seed, size in enumerate([(48, 64), (64, 48), (50, 50), (31, 97), (61, 80)])]
    assert same(Pixels(), samples, max_size=max_size, flip=flip)


@pytest.mark.parametrize("arch", ["MaskFormer", "SegGenMask2Former"])
def test_a_models_scores_are_upstreams(arch):
    """Panoptic and instance results are on as well, and left out by both."""
    pytest.importorskip("mask2former")
    model = build(config("resnet50", arch=arch)).eval()
    samples = [{"image": photo(64, 85), "height": 70, "width": 93}, {"image": photo(64, 64, 1), "height": 64, "width": 64}]
    assert same(model, samples, sizes=(32, 64, 90))
    assert MultiScale(model, [32], 99)(samples)[0]["sem_seg"].shape == (CLASSES, 70, 93)


@pytest.mark.skipif(not DATA.is_dir(), reason="no ADE20K samples")
def test_real_photos_at_the_papers_sizes(monkeypatch):
    """As the test mapper reads them: at 512 pixels, then again at 256 to 896."""
    from detectron2.data import DatasetMapper
    from detectron2.data.transforms import ResizeShortestEdge

    mapper = DatasetMapper(False, augmentations=[ResizeShortestEdge(512, 2048)], image_format="RGB")
    for file in sorted(DATA.glob("*.jpg"))[:2]:
        height, width = detection_utils.read_image(str(file), "RGB").shape[:2]
        assert same(Pixels(), [mapper({"file_name": str(file), "height": height, "width": width})], (256, 384, 512, 640, 768, 896), 3584)


def test_a_model_is_left_in_its_mode():
    for mode in (True, False):
        model = Pixels().train(mode)
        wrapped = MultiScale(model, SIZES, 4000)
        assert wrapped.training is mode and wrapped.train(not mode).model.training is not mode


AUG = ("TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "[64, 96]", "TEST.SAVE_PREDICTIONS", "True")


@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_a_training_tells_plain_and_multi_scale_figures_and_saves_both(tmp_path, kind):
    if kind == "stock":
        pytest.importorskip("mask2former")
    file, facts = str(write_toy(tmp_path, f"scales_{kind}")), {"iterations", "seconds", "peak_rss_mb"}
    words = (*AUG, *(str(word) for pair in (STOCK if kind == "stock" else {}).items() for word in pair), "SOLVER.MAX_ITER", "2", "SEGGEN.EMA", "0.5")
    run(Arguments(file, words, num_gpus=0))
    found = json.loads((tmp_path / "out/metrics_final.json").read_text())
    several = found["multi_scale"]
    assert several.keys() == found.keys() - facts - {"multi_scale"} and several["results"].keys() == {"sem_seg", "sem_seg_ema"}
    dataset = load_yaml(file)["SEGGEN"]["DATASETS"][1]
    for name, metrics in ((f"scales_{kind}_test", found), (f"scales_{kind}_test_TTA", several)):
        assert score_folder(tmp_path / "out/predictions" / name, dataset)["miou"] == pytest.approx(metrics["miou"])
    alone = ("OUTPUT_DIR", str(tmp_path / "alone"), "MODEL.WEIGHTS", str(tmp_path / "out/model_final.pth"))
    run(Arguments(file, (*words, *alone), eval_only=True, num_gpus=0))
    again = json.loads((tmp_path / "alone/metrics_final.json").read_text())["multi_scale"]
    assert again["miou"] == pytest.approx(several["miou"]) and again["figures"] == pytest.approx(several["figures"])


def test_other_tasks_are_refused_before_anything_is_built(tmp_path):
    file = str(write_toy(tmp_path, "scales_refused"))
    for words, told in ((("DATASETS.TEST", "['coco_2017_val_panoptic']"), "coco_2017_val_panoptic is for coco_panoptic_seg"),
                        (("TEST.AUG.MIN_SIZES", "[]"), "TEST.AUG.MIN_SIZES"), (("TEST.AUG.MIN_SIZES", "(32, 0)"), "TEST.AUG.MIN_SIZES")):
        with pytest.raises(SegGenError, match=told):
            run(Arguments(file, (*AUG, *words), num_gpus=0))
    assert not (tmp_path / "out").exists()
