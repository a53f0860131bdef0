"""Mask2Former's and Mask DINO's own train_net.py, with three lines added, train with a bank: save, resume, evaluate."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from seggen_d2.bank import BankInfo, BankWriter, Sample
from seggen_d2.plugin import categories_like
from seggen_d2.segmentation import default_palette, histogram, label_map_png
from seggen_d2.sources.toy import toy_scene

from .hosts_world import LINES, MASK2FORMER, MASK_DINO, ROOT, adopt, metrics, run, write_ade20k

ADE = ROOT.parent / "shared" / "data" / "ade20k_sample"
BANK = "seggen_ade20k_sem_seg_train_imgsyn"
hosts = pytest.mark.parametrize("host", [MASK2FORMER, MASK_DINO], ids=lambda host: host.package)


def real_samples():
    """The three photos of ADE20K where they are there, else toy scenes: ``(image, labels)``, ignore is 255."""
    if not ADE.is_dir():
        return [(scene.image, scene.labels) for scene in (toy_scene(n, size=64) for n in range(3))]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((ADE / "images").glob("*.jpg"))]
    return [
        (image, np.asarray(Image.open(path)) - np.uint8(1))  # 0 is unlabelled there: it becomes 255
        for image, path in zip(images, sorted((ADE / "annotations").glob("*.png")), strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``datasets/`` as Detectron2 wants ADE20K, and ``banks/`` with a bank made of its training images, turned."""
    folder = tmp_path_factory.mktemp("hosts")
    samples = real_samples()
    write_ade20k(folder / "datasets", samples)
    categories = categories_like("ade20k_sem_seg_train")
    writer = BankWriter(folder / "banks" / BANK, BankInfo("semantic", categories, default_palette(150), (), {"flip": 1}))
    writer.write_shard("imgsyn-00000", [turned(number, *sample, categories) for number, sample in enumerate(samples[:-1])])
    return folder


def turned(number, image, labels, categories):
    image, labels = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG")
    facts = (f"ADE_training_{number:08d}", "imgsyn", number, "a place", *labels.shape, histogram(labels, categories))
    return Sample(f"imgsyn-{number:09d}", jpeg.getvalue(), label_map_png(labels), *facts)


@hosts
def test_the_docs_show_the_lines_that_are_tested(host):
    page = (ROOT / "docs" / "detectron2.md").read_text()
    for line in LINES.values():
        assert line.strip() in page
    if host.repository:
        before = (host.repository / "train_net.py").read_text()
        assert len(adopt(before).splitlines()) == len(before.splitlines()) + 3


@hosts
def test_a_hosts_own_script_trains_with_a_bank_saves_resumes_and_evaluates(host, folder):
    if not host.repository:
        pytest.skip(f"{host.package} is not installed")
    out = folder / f"out-{host.package}"
    options = ("OUTPUT_DIR", str(out), "SEGGEN.BANK_ROOT", str(folder / "banks"), "SEGGEN.BANKS", f"['{BANK}']")
    options += ("SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "2")
    run(host, folder, *options)
    assert (out / "model_final.pth").is_file()
    (out / "last_checkpoint").write_text("model_0000001.pth")  # as if it had been stopped after two iterations
    done = run(host, folder, "--resume", *options, "SEGGEN.P_AUG", "1.0")
    log = (out / "log.txt").read_text()
    assert "Starting training from iteration 2" in done.stdout and BANK in log and "synthetic not usable" in log
    rows = metrics(out)
    measured = {key for row in rows for key in row}
    assert {"synthetic/loss_mask", "synthetic/loss_dice", "synthetic/total_loss", "swap/synthetic_share"} <= measured
    assert any("sem_seg/mIoU" in row for row in rows)
    last = [row for row in rows if "swap/synthetic_share" in row][-1]
    assert last["swap/synthetic_share"] == 1 and last["swap/failed"] == 0


def test_mask2formers_own_script_trains_the_model_without_the_compiled_op(folder):
    if not MASK2FORMER.repository:
        pytest.skip("mask2former is not installed")
    out = folder / "out-plain"
    options = ("OUTPUT_DIR", str(out), "SEGGEN.BANKS", f"['{folder / 'banks' / BANK}']", "SEGGEN.P_AUG", "1.0")
    model = ("MODEL.META_ARCHITECTURE", "SegGenMask2Former", "MODEL.RESNETS.DEPTH", "50")
    run(MASK2FORMER, folder, *options, *model, "MODEL.RESNETS.RES2_OUT_CHANNELS", "256", "SOLVER.MAX_ITER", "2")
    last = [row for row in metrics(out) if "synthetic/total_loss" in row][-1]
    assert last["synthetic/total_loss"] > last["synthetic/loss_mask"] > 0 and (out / "model_final.pth").is_file()
