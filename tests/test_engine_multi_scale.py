# ruff: noqa: E402
"""Multi-scale testing by the embedded engine: what is averaged, what a run's folder then holds, and what is refused."""

import json
import weakref

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from toy_world import TINY, write_world

from seggen_d2.engine import command
from seggen_d2.engine.config import load_config
from seggen_d2.engine.from_config import experiment
from seggen_d2.engine.inference import evaluate
from seggen_d2.engine.multi_scale import MultiScale, check_semantic
from seggen_d2.evaluation import score_folder
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import Outputs
from seggen_d2.sources.toy_folder import write_toy_folder

AUG = ["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "[40, 33, 64]"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def net(config):
    torch.manual_seed(1)
    model = experiment(load_config(config)[0], training=False).model.eval()
    for name, value in model.network.state_dict().items():
        if "offsets" not in name and value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.05)  # so that scores differ from place to place
    return model


def noise(height=40, width=52, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def scores(model, image, **keys):
    with torch.no_grad():
        return model([{"image": image, **keys}])[0]["sem_seg"]


def test_the_images_own_size_alone_is_the_model_itself(net):
    assert torch.equal(scores(MultiScale(net, [40], 4000, flip=False), noise()), scores(net, noise()))


def test_the_mean_is_of_all_sizes_and_sides_alike(net):
    whole, image = MultiScale(net, [36, 40, 64], 70), noise()
    views = list(whole.views(image))
    assert [tuple(view.shape[1:]) for view, _ in views[::2]] == [(36, 47), (40, 52), (54, 70)]
    assert [flipped for _, flipped in views] == [False, True] * 3 and torch.equal(views[2][0], image)
    assert all(torch.equal(view.flip(-1), other) for (view, _), (other, _) in zip(views[::2], views[1::2]))
    each = [scores(net, view, height=51, width=43) for view, _ in views]
    expected = torch.stack([one.flip(-1) if flipped else one for one, (_, flipped) in zip(each, views)]).mean(0)
    found = scores(whole, image, height=51, width=43)
    assert found.shape[1:] == (51, 43) and torch.allclose(found, expected, atol=1e-6)
    assert (each[0] - each[4]).abs().max() > 1e-3  # sizes matter


def test_an_image_turned_around_gives_scores_turned_around(net):
    whole, image = MultiScale(net, [40, 50], 4000), noise(40, 40)
    assert torch.allclose(scores(whole, image.flip(-1)), scores(whole, image).flip(-1), atol=1e-5)
    plain = MultiScale(net, [40, 50], 4000, flip=False)
    assert not torch.allclose(scores(plain, image.flip(-1)), scores(plain, image).flip(-1), atol=1e-5)


def test_memory_holds_the_sum_and_one_size(net):
    alive, most = weakref.WeakSet(), []

    class Watched(torch.nn.Module):
        def forward(self, samples):
            most.append(len(alive))
            alive.add(torch.rand(3, 8, 8))
            found = torch.rand(3, 8, 8)
            alive.add(found)
            return [{"sem_seg": found}]

    assert scores(MultiScale(Watched(), range(8, 40), 4000), noise()).shape == (3, 8, 8)
    assert len(most) == 64 and max(most) <= 2


def test_a_run_tells_plain_and_multi_scale_figures_and_saves_both(config, tmp_path, capsys):
    words = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2"]
    command.train_net(load_config(config, words)[0])
    assert not (tmp_path / "predictions").exists()
    words += ["TEST.SAVE_PREDICTIONS", "True"]
    command.train_net(load_config(config, words)[0], resume=True)  # finished, but its predictions are not there
    plain = json.loads((tmp_path / "metrics_final.json").read_text())
    assert "multi_scale" not in plain and not (tmp_path / "predictions/toy_test_TTA").exists()
    capsys.readouterr()
    command.train_net(load_config(config, words + AUG)[0], resume=True)  # finished, but not yet measured so
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": mIoU")[0] for line in told] == ["toy_test", "toy_test, multi-scale"]
    found = json.loads((tmp_path / "metrics_final.json").read_text())
    several = found["multi_scale"]
    facts = {"iterations", "seconds", "peak_rss_mb"}
    assert several.keys() == plain.keys() - facts and found.keys() == plain.keys() | {"multi_scale"}
    assert all(found[key] == plain[key] for key in plain.keys() - facts)
    dataset = load_config(config)[0].SEGGEN.DATASETS[1]
    for name, metrics in (("toy_test", found), ("toy_test_TTA", several)):
        assert score_folder(tmp_path / "predictions" / name, dataset)["miou"] == pytest.approx(metrics["miou"])
    command.train_net(load_config(config, words + AUG)[0])
    assert "finished" in capsys.readouterr().out  # and nothing is done again
    alone = ["OUTPUT_DIR", str(tmp_path / "alone"), "MODEL.WEIGHTS", str(tmp_path / "model_final")]
    command.train_net(load_config(config, [*alone, *AUG])[0], eval_only=True)
    assert json.loads((tmp_path / "alone/metrics_final.json").read_text())["multi_scale"] == several


def test_the_plan_tells_what_it_takes(config, capsys):
    command.train_net(load_config(config, AUG)[0], dry_run=True)
    assert "3 sizes, 33 to 64 pixels, and flipped: 6 passes an image" in capsys.readouterr().out


def test_one_size_that_changes_nothing_gives_the_plain_figures(config):
    """Through the whole evaluation: the image as the test mapper resized it is not resized again."""
    words = ["INPUT.MIN_SIZE_TEST", "40", "TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "[40]", "TEST.AUG.FLIP", "False", "TEST.IMS_PER_BATCH", "1"]
    run = experiment(load_config(config, words)[0], training=False)
    before = run.model.training
    found = [evaluate(model, run.tests[0], run.test_mapper, outputs=Outputs()) for model in (run.model, run.multi_scale)]
    assert found[0] == found[1] and run.model.training is before


@pytest.mark.parametrize("sizes", ["[]", "[32, 0]", "[-4]", "['big']", "[24.5]", "[True]"])
def test_sizes_must_be_pixels(sizes):
    with pytest.raises(SegGenError, match=r"TEST.AUG.MIN_SIZES(.|\n)*1 or more"):
        load_config(None, ["TEST.AUG.MIN_SIZES", sizes])


def test_other_bad_values_are_named(net):
    with pytest.raises(SegGenError, match="1 <= TEST.AUG.MAX_SIZE"):
        load_config(None, ["TEST.AUG.MAX_SIZE", "0"])
    with pytest.raises(SegGenError, match="did you mean 'TEST.AUG.MIN_SIZES'"):
        load_config(None, ["TEST.AUG.MIN_SIZE", "[32]"])
    with pytest.raises(SegGenError, match=r"images of bytes(.|\n)*torch.float32"):
        MultiScale(net, [32], 99)([{"image": noise() / 255}])
    with pytest.raises(SegGenError, match="SEMANTIC_ON: False"):
        check_semantic({"toy_test": "semantic"}, has_scores=False)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_other_tasks_are_refused_before_training(tmp_path, task):
    data = [str(write_toy_folder(tmp_path / split, split, 2, size=32, task=task)) for split in ("train", "test")]
    own = {"OUTPUT_DIR": str(tmp_path / "out"), "INPUT": {**TINY["INPUT"], "DATASET_MAPPER_NAME": f"mask_former_{task}"},
           "SEGGEN": {"P_AUG": 0.0, "DATASETS": data}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**TINY, **own}))
    on = [word for kind in ("PANOPTIC", "INSTANCE") for word in (f"MODEL.MASK_FORMER.TEST.{kind}_ON", "True")]
    with pytest.raises(SegGenError, match=rf"semantic segmentation alone(.|\n)*toy_test is {task}"):
        command.train_net(load_config(tmp_path / "config.yaml", on + AUG)[0])
    assert not (tmp_path / "out").exists()
