# ruff: noqa: E402
"""Scores of banks: identities, sidecars beside an untouched bank, resume, and what does not fit together."""

from __future__ import annotations

import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
pytest.importorskip("torchmetrics")
import yaml
from PIL import Image
from test_modeling_mask2former import SMALL

from seggen_d2.bank import Bank, BankInfo, BankWriter, Sample
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import SwapMapper
from seggen_d2.modeling import build_mask2former
from seggen_d2.modeling.checkpoint import save_network
from seggen_d2.scoring import run
from seggen_d2.scoring.alignment import Alignment
from seggen_d2.scoring.annotation import AnnotationOptions, label_bank
from seggen_d2.scoring.report import summary_text
from seggen_d2.scoring.run import ScoringOptions, score_bank
from seggen_d2.scoring.samples import parts_of
from seggen_d2.scoring.sidecar import Sidecar
from seggen_d2.segmentation import Categories, Category, default_palette, label_map_png
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Segment, SegmentMask, SemanticMask
from seggen_d2.sources.toy import CATEGORIES, toy_scene

ROOT = Path(__file__).parents[1]
SIZE, COUNT = 48, 12
TINY = {**SMALL, "class_names": CATEGORIES.names}
INDEX_ONLY = ("histogram", "captions")


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


SCENES = [toy_scene(number, size=SIZE) for number in range(COUNT)]


def write_real(folder: Path, categories: Categories = CATEGORIES, numbers: range = range(COUNT)) -> str:
    """Scenes as a folder dataset of JPEGs; its YAML."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in numbers:
        (folder / f"images/scene{number}.jpg").write_bytes(jpeg(SCENES[number].image))
        (folder / f"masks/scene{number}.png").write_bytes(label_map_png(SCENES[number].labels))
    keys = {"name": folder.name, "images": "images", "masks": "masks", "categories": categories.to_json()["items"], "ignore_id": 255}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(keys))
    return str(folder / "dataset.yaml")


def write_bank(folder: Path, source: str = "scene{}", categories: Categories = CATEGORIES, strategy: str = "imgsyn", shards: int = 2, mask=None) -> str:
    """The same scenes, photo for photo and mask for mask, as a bank of ``shards`` shards."""
    info = BankInfo("semantic", categories, default_palette(len(categories)), ({"kind": "mask2img", "fingerprint": "0"},), {"strategy": strategy, "seed": 0})
    samples = []
    for number in range(COUNT):
        labels = SCENES[number].labels if mask is None else mask(number)
        names = ", ".join(f"a {categories.names[i]}" for i in np.unique(labels) if i < len(categories))
        samples.append(Sample(f"{strategy}-{number:09d}", jpeg(SCENES[number].image), source_id=source.format(number), strategy=strategy, seed=number,
                              caption=f"a scene with {names}", height=SIZE, width=SIZE, **mask_members(SemanticMask(labels), categories)))
    writer, each = BankWriter(folder, info), COUNT // shards
    for shard in range(shards):
        writer.write_shard(f"{strategy}-{shard:05d}", samples[each * shard : each * (shard + 1)])
    return str(folder)


def tiny_segmenter(seed: int = 0):
    torch.manual_seed(seed)
    return build_mask2former(len(CATEGORIES), **TINY)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, str]:
    """A real dataset, a bank of its very photos and masks, and a segmenter."""
    root = tmp_path_factory.mktemp("scored")
    save_network(tiny_segmenter(), root / "run/model_final")
    return {"dataset": write_real(root / "real"), "bank": write_bank(root / "bank"), "segmenter": str(root / "run")}


def options(world: dict[str, str], **changes) -> ScoringOptions:
    return ScoringOptions(**{"dataset": world["dataset"], "segmenter": world["segmenter"], "device": "cpu", **changes})


def contents(folder: str | Path) -> dict[str, bytes]:
    """The bank's own files."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and not {".cache", "scores"} & {*path.parts})
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def scored(world) -> dict:
    """All scores of the bank, its files before and after, and what ``score_bank`` told."""
    before = contents(world["bank"])
    found = score_bank(world["bank"], options(world, test=world["dataset"]))
    return {"found": found, "before": before, "after": contents(world["bank"])}


def test_a_bank_of_the_real_photos_is_at_no_distance_and_all_learned_by_heart(scored):
    found = scored["found"]
    apart = found["features"]["distances"]
    assert apart["fid_like"] == pytest.approx(0, abs=1e-3) and apart["real_halves_fid_like"] > 10 * apart["fid_like"]
    assert apart["kid_like"] == pytest.approx(0, abs=3 * apart["kid_like_sd"])
    for kind in ("features", "photos"):
        assert found[kind]["flagged"] == COUNT and found[kind]["nearest"][-1]["distance"] == 0 < found[kind]["threshold"]
    bank, ids = Bank(Path(found["bank"])), [f"scene{number}" for number in range(COUNT)]
    assert bank.column("scores/quality:photos_photo").tolist() == bank.column("scores/quality:features_photo").tolist() == ids


def test_its_classes_are_the_real_ones_and_captions_name_what_masks_hold(scored):
    found = scored["found"]
    assert found["histogram"]["total_variation"] == found["histogram"]["jensen_shannon"] == 0
    assert {own["ratio"] for own in found["histogram"]["classes"].values()} <= {1.0, None}
    assert found["captions"]["recall"] == 100 and found["captions"]["naming_no_class"] == 0


def test_a_layouts_own_source_is_left_out_and_other_sources_are_copies(scored, world, tmp_path):
    own = scored["found"]["layouts"]
    images = Bank(Path(world["bank"])).column("scores/quality:layout_image")
    assert own["copies"] == 0 and own["mean_iou"] < 90 and all(image != f"scene{number}" for number, image in enumerate(images))
    assert own["within_bank"] == pytest.approx(own["within_real"]) and own["mean_iou"] == pytest.approx(own["within_real"], abs=1e-3)
    foreign = score_bank(write_bank(tmp_path / "bank", source="elsewhere"), options(world, scores=("layouts",)))["layouts"]
    assert foreign["copies"] == COUNT and foreign["mean_iou"] == pytest.approx(100)


def test_alignment_is_the_evaluation_of_the_segmenter_on_the_bank(scored):
    """The bank's photos and masks are the test set's, so that both figures are one."""
    found = scored["found"]["alignment"]
    assert found["figures"] == found["real"]["figures"] and found["per_class"] == found["real"]["per_class"] and found["figures"]["mIoU"] < 60
    text = summary_text(scored["found"])
    assert "mIoU" in text and "FID-like" in text and "degenerate" in text and "copies" in text and "Jensen-Shannon" in text


def test_a_bank_labelled_by_the_segmenter_aligns_with_it_wholly(world, tmp_path):
    unlabelled = write_bank(tmp_path / "unlabelled", strategy="unlabelled", mask=lambda number: np.full((SIZE, SIZE), 255, np.uint8))
    with pytest.raises(SegGenError, match="no masks to score"):
        score_bank(unlabelled, options(world))
    label_bank(unlabelled, world["segmenter"], tmp_path / "labelled", AnnotationOptions(device="cpu"))
    figures = score_bank(tmp_path / "labelled", options(world, scores=("alignment",)))["alignment"]["figures"]
    assert {name: pytest.approx(100) for name in figures} == figures
    assert set(Bank(tmp_path / "labelled").column("scores/quality:miou")) == {100.0}


class Oracle(torch.nn.Module):
    """A segmenter that answers with the masks it is told, by ``image_id``."""

    def __init__(self, answers, test_size=(0, 0)):
        super().__init__()
        self.answers, self.test_size = answers, test_size

    def forward(self, samples):
        return [self.answers[sample["image_id"]] for sample in samples]


def two_parts() -> np.ndarray:
    ids = np.zeros((20, 30), np.int32)
    ids[:, :12], ids[4:15, 15:27] = 1, 2
    return ids


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_and_objects_align_with_themselves_and_less_when_moved(task, tmp_path):
    categories = Categories((Category("sky", task == "instance"), Category("car", True)))
    ids = two_parts()
    masks = {"panoptic": SegmentMask(ids, (Segment(1, 0), Segment(2, 1))),
             "instance": InstanceMask(ids.shape, (InstanceObject(ids == 1, 0), InstanceObject(ids == 2, 1)))}
    info = BankInfo(task, categories, default_palette(2), ({"kind": "mask2img", "fingerprint": "0"},), {"strategy": "imgsyn", "seed": 0})
    samples = [Sample(f"imgsyn-{number:09d}", jpeg(np.full((20, 30, 3), 90, np.uint8)), source_id="a", strategy="imgsyn", seed=0, caption="a car", height=20,
                      width=30, **mask_members(masks[task], categories)) for number in range(2)]
    BankWriter(tmp_path / task, info).write_shard("imgsyn-00000", samples)
    sidecar = Sidecar(Bank(tmp_path / task, name=f"oracle-{task}"), "quality")
    scores = Alignment(sidecar, Oracle({sample.key: _answer(task, np.roll(ids, 3 * place, 1)) for place, sample in enumerate(samples)}))
    parts = parts_of(sidecar.bank)
    sidecar.write("alignment", parts[0], scores.columns(parts[0], lambda: None))
    main = {"panoptic": "pq", "instance": "best_iou"}[task]
    assert sidecar.bank.column(f"scores/quality:{main}")[0] == 100 > sidecar.bank.column(f"scores/quality:{main}")[1] > 20
    found = scores.summary(parts)
    assert found["worst"][0]["key"] == samples[1].key
    if task == "instance":
        assert found["figures"]["found"] == 100 and found["figures"]["best IoU"] == pytest.approx(sidecar.bank.column("scores/quality:best_iou").mean())
    else:
        assert 50 < found["figures"]["mIoU_pan"] < 100 and found["figures"]["PQ"] == pytest.approx(sidecar.bank.column("scores/quality:pq").mean())


def _answer(task: str, ids: np.ndarray) -> dict:
    parts = torch.from_numpy(np.stack([ids == 1, ids == 2]))
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
    objects = {"masks": parts, "scores": torch.ones(2), "categories": torch.arange(2)}
    return {"sem_seg": parts.float(), "panoptic_seg": (torch.from_numpy(ids), segments), "instances": objects}


def test_the_page_shows_the_worst_samples_and_the_nearest_photos(scored, world, tmp_path):
    score_bank(world["bank"], options(world, test=world["dataset"]), page=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    worst = [f"<p class=\"caption\">{row['key']}: mIoU {row['miou']:.1f}</p>" for row in scored["found"]["alignment"]["worst"]]
    assert len(worst) == COUNT and all(head in text for head in worst) and text.count("nearer than real photos are</p>") == 2 * COUNT
    assert "http" not in text.replace("http://www.w3.org", "")


def test_the_bank_itself_stays_byte_for_byte_as_it_was(scored):
    assert scored["before"] == scored["after"]


def test_a_stop_loses_nothing_and_nothing_is_made_twice(scored, world, monkeypatch):
    folder = Path(world["bank"]) / "scores/quality"
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    (folder / "alignment-imgsyn-00001.parquet").unlink()
    made = []
    columns = Alignment.columns
    monkeypatch.setattr(Alignment, "columns", lambda self, part, tick: made.append(part.shard) or columns(self, part, tick))
    again = score_bank(world["bank"], options(world, test=world["dataset"]))
    assert made == ["imgsyn-00001"] and {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert again == scored["found"] == json.loads((folder / "summary.json").read_text())


def test_a_column_serves_as_weights_at_once(scored, world):
    bank = Bank(Path(world["bank"]))
    swap = SwapMapper(lambda record, number=None: record, bank, 1.0, sampling="weighted", sample_weights="scores/quality:miou")
    drawn = [swap({"file_name": "x.jpg"}, number)["image_id"] for number in range(3000)]
    weights = bank.column("scores/quality:miou")
    for number in (int(weights.argmin()), int(weights.argmax())):
        assert drawn.count(bank.key(number)) / 3000 == pytest.approx(weights[number] / weights.sum(), abs=0.03)
    with pytest.raises(SegGenError, match=r"no column moiu(.|\n)*did you mean 'miou'"):
        bank.column("scores/quality:moiu")


def test_features_may_be_those_of_another_network_and_need_no_segmenter(world, tmp_path):
    import transformers

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 28, "patch_size": 14}
    for name, model in (("vit", transformers.ViTModel), ("other", transformers.ViTModel)):
        model(transformers.ViTConfig(**shape)).save_pretrained(tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text('{"size": {"height": 28, "width": 28}}')
    found = score_bank(world["bank"], options(world, segmenter="", features=str(tmp_path / "vit"), scores=("features",)), "vit")["features"]
    assert found["flagged"] == COUNT and found["distances"]["dimensions"] == 16 and found["distances"]["fid_like"] == pytest.approx(0, abs=1e-3)
    with pytest.raises(SegGenError, match="features was begun with another network"):
        score_bank(world["bank"], options(world, segmenter="", features=str(tmp_path / "other"), scores=("features",)), "vit")


def test_a_limit_takes_samples_from_all_over_the_bank(world):
    found = score_bank(world["bank"], options(world, limit=4, scores=("photos", "histogram")), "few")
    assert found["samples"] == found["photos"]["samples"] == 4
    names = sorted(path.name for path in (Path(world["bank"]) / "scores/few").glob("*.parquet"))
    assert names == ["photos-imgsyn-00000.parquet", "photos-imgsyn-00001.parquet"]
    with pytest.raises(SegGenError, match="lacks 8 of 12 samples"):
        Bank(Path(world["bank"])).column("scores/few:photos_distance")


def test_another_segmenter_or_dataset_under_one_name_is_refused(scored, world, tmp_path):
    save_network(tiny_segmenter(seed=1), tmp_path / "other")
    with pytest.raises(SegGenError, match=rf"alignment was begun with another segmenter(.|\n)*{world['segmenter']}(.|\n)*{tmp_path}/other"):
        score_bank(world["bank"], options(world, segmenter=str(tmp_path / "other"), scores=("alignment",)))
    other = write_real(tmp_path / "fewer", numbers=range(5))
    with pytest.raises(SegGenError, match=r"photos was begun with another dataset(.|\n)*fewer"):
        score_bank(world["bank"], options(world, dataset=other, scores=("photos",)))
    with pytest.raises(SegGenError, match="begun with another limit"):
        score_bank(world["bank"], options(world, limit=3, scores=("photos",)))


def test_what_does_not_fit_is_told(world, tmp_path):
    others = Categories.from_names([*CATEGORIES.names[:-1], "kite"])
    with pytest.raises(SegGenError, match="'kite'"):
        score_bank(world["bank"], options(world, dataset=write_real(tmp_path / "kites", others)))
    with pytest.raises(SegGenError, match="'kite'"):
        score_bank(write_bank(tmp_path / "bank", categories=others), options(world))
    torch.manual_seed(0)
    save_network(build_mask2former(len(CATEGORIES), **{**TINY, "class_names": others.names}), tmp_path / "run")
    with pytest.raises(SegGenError, match="categories of the dataset and the model"):
        score_bank(world["bank"], options(world, segmenter=str(tmp_path / "run"), scores=("alignment",)), "kites")
    with pytest.raises(SegGenError, match="alignment needs a network"):
        score_bank(world["bank"], options(world, segmenter="", scores=("alignment", "photos")))
    with pytest.raises(SegGenError, match=r"--scores is not known(.|\n)*'captions'"):
        options(world, scores=("caption",))
    with pytest.raises(SegGenError, match="no checkpoint at"):
        score_bank(world["bank"], options(world, segmenter=str(tmp_path / "absent")), "absent")


def test_an_empty_bank_and_a_sidecar_of_another_bank_are_told(world, tmp_path):
    info = Bank(Path(world["bank"])).info
    BankWriter(tmp_path / "empty", info)
    with pytest.raises(SegGenError, match="holds no sample"):
        score_bank(tmp_path / "empty", options(world))
    one = write_bank(tmp_path / "one")
    score_bank(one, options(world, scores=INDEX_ONLY))
    two = write_bank(tmp_path / "two", mask=lambda number: SCENES[0].labels)
    (Path(one) / "scores").rename(Path(two) / "scores")
    with pytest.raises(SegGenError, match="captions-imgsyn-00000.parquet is a sidecar of another bank"):
        score_bank(two, options(world, scores=INDEX_ONLY))


def test_a_bank_at_a_url_is_scored_there(world, tmp_path, monkeypatch, request):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("SEGGEN_CACHE", str(tmp_path / "cache"))
    url, files = f"memory://{request.node.name}", fsspec.filesystem("memory")
    for name, data in contents(world["bank"]).items():
        files.pipe_file(f"/{request.node.name}/{name}", data)
    found = score_bank(url, options(world, segmenter="", scores=("photos", "captions")), "there")
    assert found["photos"]["flagged"] == COUNT and len(Bank(url, name="there").column("scores/there:caption_recall")) == COUNT
    assert score_bank(url, options(world, segmenter="", scores=("photos", "captions")), "there") == found


def test_the_tool_prints_the_figures_and_where_they_lie(world, monkeypatch, capsys):
    arguments = [world["bank"], "--dataset", world["dataset"], "--scores", *INDEX_ONLY, "--name", "tool"]
    monkeypatch.setattr(sys, "argv", ["score_bank.py", *arguments])
    runpy.run_path(str(ROOT / "tools/score_bank.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "total variation" in told and "precision" in told and told.rstrip().endswith("scores/tool")
    kinds = runpy.run_path(str(ROOT / "tools/score_bank.py"))["KINDS"]
    assert {*kinds} == {*run.SCORES}
