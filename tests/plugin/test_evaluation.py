"""Figures against the references: panopticapi, Detectron2's evaluators, and a panoptic model's outputs as Mask2Former's are scored.

``pytest -s tests/plugin/test_evaluation.py`` prints the greatest differences, in percent points.
"""

import contextlib
import io
import json
import types
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator, SemSegEvaluator
from detectron2.structures import Boxes, Instances
from hard_cases import CATEGORIES, label_pairs, scored_objects, segment_pairs

from seggen_d2.evaluation import Detection, MaskAP, PanopticQuality, SemanticScorer, TruthObject, encode_object, panoptic_scores
from seggen_d2.segmentation import Categories, label_map_png
from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.segmentation.panoptic import panoptic_png, read_panoptic_png
from seggen_d2.segmentation.rle import encode_mask

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "coco_sample"
LIMIT = 1e-6  # percent points
THINGS = {place: place for place, item in enumerate(CATEGORIES.items) if item.isthing}


@pytest.fixture(scope="module")
def worst():
    """The greatest difference seen of each kind."""
    found: dict[str, float] = {}
    yield found
    print("".join(f"\n{name}: {value:.2e}" for name, value in sorted(found.items())))


def compare(worst, kind, ours, theirs):
    """The same names are defined, and their values are equal."""
    for name, value in theirs.items():
        assert np.isnan(ours[name]) == np.isnan(value), (kind, name, ours[name], value)
        if not np.isnan(value):
            worst[kind] = max(worst.get(kind, 0.0), abs(ours[name] - value))
            assert abs(ours[name] - value) < LIMIT, (kind, name, ours[name], value)


def registered(records, **facts):
    name = f"evaluated_{uuid.uuid4().hex[:8]}"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**facts)
    return name


def detectron2_semantic(folder, pairs, categories):
    """Detectron2's figures, of logits whose argmax is the prediction."""
    records, outputs = [], []
    for number, (predicted, labels) in enumerate(pairs):
        file = folder / f"{number}.png"
        file.write_bytes(label_map_png(labels))
        records.append({"file_name": f"{number}.jpg", "sem_seg_file_name": str(file)})
        outputs.append({"sem_seg": torch.nn.functional.one_hot(torch.from_numpy(predicted.astype(np.int64)), len(categories)).permute(2, 0, 1).byte()})
    name = registered(records, stuff_classes=list(categories.names), ignore_label=255)
    evaluator = SemSegEvaluator(name, distributed=False)
    evaluator.reset()
    evaluator.process(records, outputs)
    return evaluator.evaluate()["sem_seg"]


def semantic_figures(pairs, categories):
    scorer = SemanticScorer(categories)
    for predicted, labels in pairs:
        scorer.update(predicted, labels)
    scores = scorer.scores()
    return {**scores.figures, **{f"{column}-{name}": value for column, values in scores.per_class.items() for name, value in values.items()}}


@pytest.mark.parametrize("seed", range(5))
def test_semantic_figures_are_detectron2s(tmp_path, worst, seed):
    pairs = [pair for pair in label_pairs(seed, 20)]
    theirs = detectron2_semantic(tmp_path, pairs, CATEGORIES)
    ours = semantic_figures(pairs, Categories.from_names(CATEGORIES.names))
    compare(worst, "SemSegEvaluator, random", ours, {name: value for name, value in theirs.items() if "oundary" not in name and "min" not in name})


def panopticapi(folder, pairs, categories):
    """Write pairs ``(predicted, truth)`` as COCO does, and score them by panopticapi in this process."""
    from panopticapi.evaluation import PQStat, pq_compute_single_core

    matched = []
    for number, pair in enumerate(pairs):
        sides = []
        for side, mask in zip(("predicted", "truth"), pair):
            (folder / side).mkdir(exist_ok=True)
            (folder / side / f"{number}.png").write_bytes(panoptic_png(mask.ids))
            infos = [{"id": s.id, "category_id": s.category_id, "iscrowd": int(s.iscrowd), "area": int((mask.ids == s.id).sum())} for s in mask.segments]
            sides.append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
        matched.append(sides[::-1])
    items = {place: {"id": place, "isthing": int(item.isthing)} for place, item in enumerate(categories.items)}
    with contextlib.redirect_stdout(io.StringIO()):
        counted = PQStat()
        counted += pq_compute_single_core(0, matched, str(folder / "truth"), str(folder / "predicted"), items)
    figures = {}
    for ending, kind in (("", None), ("_th", True), ("_st", False)):
        mean, per_class = counted.pq_average(items, kind)
        figures |= {f"{name.upper()}{ending}": 100 * mean[name] for name in ("pq", "sq", "rq")}
        if kind is None:
            figures |= {f"{name.upper()}-{categories.names[place]}": 100 * value for place, row in per_class.items() for name, value in row.items()}
    return figures


def panoptic_figures(pairs, categories):
    quality = PanopticQuality(categories)
    for predicted, truth in pairs:
        quality.update(predicted, truth)
    scores = panoptic_scores(quality)
    per_class = {f"{column}-{name}": 0.0 if np.isnan(value) else value for column, values in scores.per_class.items() for name, value in values.items()}
    return {**scores.figures, **per_class}  # panopticapi tells 0 of a category that nobody holds, and leaves it out of means


@pytest.mark.parametrize("seed", range(5))
def test_panoptic_figures_are_panopticapis(tmp_path, worst, seed):
    pytest.importorskip("panopticapi")
    pairs = segment_pairs(seed, 30)
    compare(worst, "panopticapi, random", panoptic_figures(pairs, CATEGORIES), panopticapi(tmp_path, pairs, CATEGORIES))


def test_saved_files_score_as_panopticapi_scores_them(tmp_path, worst):
    """Through its own reading of both JSON files, with a segment of the truth that has no pixel."""
    from coco_samples import IMAGES, ids, segments, write_coco
    from panopticapi.evaluation import pq_compute

    from seggen_d2.evaluation.predictions import evaluate_predictions

    files, truth = write_coco(tmp_path / "data"), tmp_path / "data/panoptic.json"
    value = json.loads(truth.read_text())
    value["annotations"][0]["segments_info"].append({"id": 4000, "category_id": 92, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1})
    truth.write_text(json.dumps(value))
    (tmp_path / "predictions").mkdir()
    for place, name in enumerate(IMAGES):
        (tmp_path / "predictions" / f"{name}.png").write_bytes(panoptic_png(np.roll(ids(place), 1 + place, 1)))
    entries = [{"image_id": int(name), "file_name": f"{name}.png", "segments_info": segments(place)} for place, name in enumerate(IMAGES)]
    (tmp_path / "predictions.json").write_text(json.dumps({"annotations": entries}))
    with contextlib.redirect_stdout(io.StringIO()):
        told = pq_compute(str(truth), str(tmp_path / "predictions.json"), str(truth.parent / "panoptic"), str(tmp_path / "predictions"))
    kinds = {"All": "", "Things": "_th", "Stuff": "_st"}
    theirs = {f"{name.upper()}{ending}": 100 * told[kind][name] for kind, ending in kinds.items() for name in ("pq", "sq", "rq")}
    compare(worst, "panopticapi, files", evaluate_predictions(tmp_path / "predictions.json", files["panoptic"]).scores.figures, theirs)
    assert 0 < theirs["PQ_th"] < theirs["PQ_st"] < 100


def detectron2_instances(folder, objects, categories, things):
    """``COCOEvaluator``, as Mask2Former's train_net.py sets it up, over predictions of contiguous ids."""
    items, annotations = [{"id": i, "name": categories.names[place]} for i, place in things.items()], []
    for image, (_, _, theirs) in enumerate(objects):
        for o in theirs:
            facts = {"image_id": image, "category_id": o["category_id"], "iscrowd": o["iscrowd"], "segmentation": encode_mask(o["mask"])}
            annotations.append({**facts, "id": len(annotations) + 1, "area": int(o["mask"].sum()), "bbox": [0, 0, 1, 1]})
    images = [{"id": image, "file_name": f"{image}.jpg", "height": shape[0], "width": shape[1]} for image, (shape, _, _) in enumerate(objects)]
    (folder / "truth.json").write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": items}))
    name = registered([], json_file=str(folder / "truth.json"), thing_dataset_id_to_contiguous_id=things,
                      thing_classes=[categories.names[place] for place in things.values()])
    evaluator = COCOEvaluator(name, tasks=("segm",), distributed=False, use_fast_impl=False)
    evaluator.reset()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.process([{"image_id": image} for image in range(len(objects))], [{"instances": _instances(*sample[:2])} for sample in objects])
        return evaluator.evaluate()["segm"]


def _instances(shape, objects):
    made = Instances(shape)
    masks = [torch.from_numpy(o["mask"].copy()) for o in objects]
    made.pred_masks = torch.stack(masks) if masks else torch.zeros((0, *shape), dtype=torch.bool)
    made.pred_boxes = Boxes(torch.zeros(len(objects), 4))  # as Mask2Former leaves them
    made.scores = torch.tensor([o["score"] for o in objects], dtype=torch.float64)
    made.pred_classes = torch.tensor([o["category_id"] for o in objects], dtype=torch.int64)
    return made


def instance_figures(objects, categories):
    scorer = MaskAP(categories)
    for image, (_, ours, theirs) in enumerate(objects):
        scorer.update(image, [Detection(o["category_id"], o["score"], encode_object(o["mask"])) for o in ours],
                      [TruthObject(o["category_id"], encode_object(o["mask"]), int(o["mask"].sum()), bool(o["iscrowd"])) for o in theirs])
    scores = scorer.scores()
    return {**scores.figures, **{f"AP-{name}": value for name, value in scores.per_class["AP"].items()}}


@pytest.mark.parametrize("seed", range(5))
def test_mask_ap_is_detectron2s(tmp_path, worst, seed):
    objects = scored_objects(seed, 25)
    theirs = detectron2_instances(tmp_path, objects, CATEGORIES, THINGS)
    compare(worst, "COCOEvaluator, random", instance_figures(objects, CATEGORIES), theirs)


def upstream_outputs(seed, truth, categories):
    """Logits of a panoptic model that saw ``truth``, through Mask2Former's own inference: its three outputs."""
    from mask2former.maskformer_model import MaskFormer

    draw, n, queries = torch.Generator().manual_seed(seed), len(categories), 12
    classes, masks = torch.randn(queries, n + 1, generator=draw), torch.randn(queries, *truth.shape, generator=draw)
    for query, segment in enumerate(truth.segments[: queries - 2]):
        classes[query, segment.category_id] += 6
        masks[query] += 8 * torch.from_numpy(truth.ids == segment.id) - 4
    metadata = types.SimpleNamespace(thing_dataset_id_to_contiguous_id={p: p for p, item in enumerate(categories.items) if item.isthing})
    model = types.SimpleNamespace(sem_seg_head=types.SimpleNamespace(num_classes=n), object_mask_threshold=0.5, overlap_threshold=0.5, metadata=metadata,
                                  num_queries=queries, test_topk_per_image=20, panoptic_on=True, device="cpu")
    ids, infos = MaskFormer.panoptic_inference(model, classes, masks)
    semantic = MaskFormer.semantic_inference(model, classes, masks)
    found = MaskFormer.instance_inference(model, classes, masks)
    panoptic = SegmentMask(ids.numpy(), tuple(Segment(info["id"], info["category_id"]) for info in infos))
    things = [{"mask": m.numpy() > 0, "category_id": int(c), "score": float(s)} for m, c, s in zip(found.pred_masks, found.pred_classes, found.scores)]
    return panoptic, semantic.argmax(0).numpy(), things


def check_panoptic_model(folder, worst, kind, truths, categories):
    """PQ, AP_pan^Th and mIoU_pan of a panoptic model: three outputs against the panoptic truth, its things, and its labels."""
    things = {place: place for place, item in enumerate(categories.items) if item.isthing}
    made = [upstream_outputs(seed, truth, categories) for seed, truth in enumerate(truths)]
    pairs = [(panoptic, truth) for (panoptic, _, _), truth in zip(made, truths)]
    compare(worst, f"PQ, {kind}", panoptic_figures(pairs, categories), panopticapi(folder, pairs, categories))
    labels = [(semantic, truth.labels()) for (_, semantic, _), truth in zip(made, truths)]
    theirs = {name: value for name, value in detectron2_semantic(folder, labels, categories).items() if name in ("mIoU", "fwIoU", "mACC", "pACC")}
    compare(worst, f"mIoU_pan, {kind}", semantic_figures(labels, categories), theirs)
    objects = [(truth.shape, found, [{"mask": truth.ids == s.id, "category_id": s.category_id, "iscrowd": int(s.iscrowd)}
                                     for s in truth.segments if s.category_id in things]) for (_, _, found), truth in zip(made, truths)]
    theirs = detectron2_instances(folder, objects, categories, things)
    compare(worst, f"AP_pan^Th, {kind}", instance_figures(objects, categories), theirs)
    assert theirs["AP"] > 5


def test_a_panoptic_models_outputs_are_scored_as_upstreams(tmp_path, worst):
    pytest.importorskip("mask2former")
    pytest.importorskip("panopticapi")
    check_panoptic_model(tmp_path, worst, "random", [truth for _, truth in segment_pairs(9, 12) if min(truth.shape) > 5], CATEGORIES)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no COCO samples")
def test_real_coco_masks_are_scored_as_upstreams(tmp_path, worst):
    """With their crowds, 133 categories, and areas as the JSON tells them."""
    pytest.importorskip("mask2former")
    pytest.importorskip("panopticapi")
    listed = json.loads((SAMPLE / "panoptic_coco_categories.json").read_text())
    categories = Categories.from_json({"items": [{"name": c["name"], "isthing": bool(c["isthing"])} for c in listed]}, "COCO")
    places = {c["id"]: place for place, c in enumerate(listed)}
    truths = []
    for item in json.loads((SAMPLE / "panoptic_examples.json").read_text())["annotations"]:
        ids = read_panoptic_png(SAMPLE / "panoptic_examples" / item["file_name"])
        assert all((ids == s["id"]).sum() == s["area"] for s in item["segments_info"])
        truths.append(SegmentMask(ids, tuple(Segment(s["id"], places[s["category_id"]], bool(s["iscrowd"])) for s in item["segments_info"])))
    assert sum(s.iscrowd for truth in truths for s in truth.segments) == 3
    check_panoptic_model(tmp_path, worst, "COCO samples", truths, categories)


def test_the_benchmark_compares_with_what_is_installed():
    from seggen_d2.plugin.training.bench_metrics import rows

    semantic = rows(images=1, turns=1)[0]
    assert semantic["ratio"] > 0 and "SemSegEvaluator; figures differ by 0.0e+00" in semantic["reference"]
