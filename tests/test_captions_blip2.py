"""BLIP-2's captions, on tiny models of the real classes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seggen_d2.captions import CaptionRequest, caption_dataset, read_caption_facts, read_captions
from seggen_d2.captions import dataset as dataset_module
from seggen_d2.captions.blip2 import LABEL_PROMPT, Blip2Captioner, Blip2Options
from seggen_d2.captions.job import CaptionOptions, make_captions, parse_beams
from seggen_d2.captions.nucleus import SeededNucleus
from seggen_d2.captions.tiny_blip2 import save_tiny_blip2
from seggen_d2.captions.wording import Wording, read_blocklist
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import SemanticMask
from seggen_d2.sources import load_dataset

CATEGORIES = Categories.from_names(["road", "sky"])
WORDS = ["a road with two cars and a sky", "a red house in a green field"]


@pytest.fixture(scope="module", params=["opt", "t5"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / f"tiny-{request.param}"
    save_tiny_blip2(folder, WORDS, language_model=request.param)
    return str(folder)


@pytest.fixture(scope="module")
def opt_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "blip2-opt-tiny"
    save_tiny_blip2(folder, WORDS)
    return str(folder)


@pytest.fixture(scope="module")
def requests():
    """Four pictures of different sizes."""
    draw = np.random.default_rng(0)
    sizes = [(40, 60), (33, 20), (64, 64), (10, 90)]
    return [CaptionRequest(draw.integers(0, 256, (*size, 3), np.uint8), SemanticMask(np.arange(size[0])[:, None] * 2 // size[0] + np.zeros(size, int)),
                           image_id=str(n)) for n, size in enumerate(sizes)]


def options(model, **changes):
    return Blip2Options(**{"model": model, "beams": 2, "width": 3, "nucleus": 2, "max_tokens": 6, "blocklist": "none", **changes})


def test_every_image_gets_its_beams_and_draws_whatever_the_batch(model, requests):
    captioner = Blip2Captioner(options(model, prompt=LABEL_PROMPT), CATEGORIES)
    together = captioner(requests)
    assert [len(given) for given in together] == [4] * 4 and all(caption.strip() for given in together for caption in given)
    assert together == [captioner([request])[0] for request in requests]
    assert together == captioner(requests[::-1])[::-1]
    assert len({given for given in together}) > 1, "the pictures make no difference"


def test_draws_differ_by_seed_and_by_number(model, requests):
    one, other = (Blip2Captioner(options(model, beams=0, seed=seed), CATEGORIES)(requests) for seed in (0, 1))
    assert one != other and all(given[0] != given[1] for given in one)


def test_beams_equal_transformers_own(model, requests):
    captioner = Blip2Captioner(options(model, nucleus=0), CATEGORIES)
    inputs = captioner.processor(images=[requests[0].image], text=[""], return_tensors="pt")
    tokens = captioner.model.generate(**inputs, num_beams=3, num_return_sequences=2, max_new_tokens=6)
    start = 0 if captioner.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    texts = captioner.processor.batch_decode(tokens[:, start:], skip_special_tokens=True)
    wanted = [captioner.wording.tidied(text) for text in texts]
    assert [c for c in captioner(requests[:1])[0] if c in wanted] == [c for c in wanted if captioner.wording.is_good(c)]


def test_draws_follow_the_nucleus():
    scores = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0]).log_softmax(-1).expand(4000, 5)
    chosen = SeededNucleus(range(4000), 1, top_p=0.9, temperature=1.0)(torch.zeros(4000, 1, dtype=torch.long), scores)
    assert (chosen.exp().sum(-1) == 1).all() and set(chosen.unique().tolist()) == {0.0, -torch.inf}
    shares, kept = chosen.exp().mean(0), scores[0].exp()[:3]  # 0.64 + 0.24 + 0.09 reach 0.9
    assert torch.allclose(shares[:3], kept / kept.sum(), atol=0.03) and (shares[3:] == 0).all()


def test_a_colder_nucleus_is_narrower():
    scores = torch.tensor([2.0, 1.0, 0.0]).expand(2000, 3)
    shares = [SeededNucleus(range(2000), 1, top_p=1.0, temperature=t)(None, scores).exp().mean(0)[0].item() for t in (0.5, 1.0, 2.0)]
    assert shares == sorted(shares, reverse=True) and shares[1] == pytest.approx(torch.tensor([2.0, 1, 0]).softmax(0)[0].item(), abs=0.03)


def test_blocked_words_are_drawn_again_or_cut_out(opt_model, requests, tmp_path):
    free = Blip2Captioner(options(opt_model), CATEGORIES)(requests)
    blocked = sorted({word for given in free for caption in given for word in caption.split() if word.isalnum()})
    (tmp_path / "blocked.txt").write_text("# notes are none\n" + "\n".join(blocked) + "\n")
    mended = Blip2Captioner(options(opt_model, blocklist=str(tmp_path / "blocked.txt")), CATEGORIES)(requests)
    assert blocked and [len(given) for given in mended] == [4] * 4
    assert not any(word in caption.split() for word in blocked for given in mended for caption in given)
    untouched = [(n, k) for n, given in enumerate(free) for k, caption in enumerate(given) if Wording(blocked).is_good(caption)]
    assert all(mended[n][k] == free[n][k] for n, k in untouched)


def test_a_model_that_says_nothing_gives_way_to_the_labels(opt_model, requests, monkeypatch, caplog):
    captioner = Blip2Captioner(options(opt_model, beams=1, nucleus=0), CATEGORIES)
    monkeypatch.setattr(captioner, "_generate", lambda inputs, **ways: [" ."] * len(inputs["pixel_values"]))
    assert captioner(requests[:1]) == [("a road and a sky",)] and "says nothing usable" in caplog.text


def test_what_repeats_another_caption_is_drawn_again(opt_model, requests, monkeypatch):
    """A word each for the beam and two draws, then new draws: the first says it once more, the second something else."""
    captioner = Blip2Captioner(options(opt_model, beams=1), CATEGORIES)
    words = iter([["a road"] * 2, ["a road", "a sky", "a house", "a house"], ["a road", "a sky"], ["a car"]])
    monkeypatch.setattr(captioner, "_generate", lambda inputs, **ways: next(words))
    assert captioner(requests[:2]) == [("a road", "a car", "a sky"), ("a road", "a house", "a sky")]
    assert next(words, None) is None
    always = Blip2Captioner(options(opt_model, beams=1, nucleus=1), CATEGORIES)
    monkeypatch.setattr(always, "_generate", lambda inputs, **ways: ["a road"] * len(inputs["pixel_values"]))
    assert always(requests[:1]) == [("a road", "a road")]


def test_captions_are_mended():
    wording = Wording(["arafed", "stock photo"])
    assert wording.tidied("\n  a  cat\non a mat") == "a cat" and not wording.is_good("An Arafed cat") and wording.is_good("a carafed cat")
    assert wording.mended("arafed man, a stock  photo") == "man, a" and wording.mended("Stock photo.") == ""
    assert "arafed" in read_blocklist() and read_blocklist("none") == ()


def test_the_label_prompt_names_what_the_mask_holds(opt_model, requests):
    captioner = Blip2Captioner(options(opt_model, prompt=LABEL_PROMPT), CATEGORIES)
    assert captioner._prompt(requests[0]) == "Question: what does this photo of a road and a sky show? Answer:"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(opt_model, requests, dtype):
    captioner = Blip2Captioner(options(opt_model, dtype=dtype, beams=1), CATEGORIES)
    assert captioner.model.vision_model.dtype == getattr(torch, dtype) and len(captioner(requests)) == 4


def test_a_resumed_table_equals_an_unstopped_one(opt_model, toy_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_module, "CHUNK", 2)
    source, captioner = load_dataset(toy_folder / "dataset.yaml"), Blip2Captioner(options(opt_model, beams=0), CATEGORIES)
    stopping = Blip2Captioner.__call__
    calls = []

    def stop_third(self, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stopping(self, batch)

    whole = caption_dataset(source, captioner, tmp_path / "whole.parquet", batch=2)
    monkeypatch.setattr(Blip2Captioner, "__call__", stop_third)
    with pytest.raises(KeyboardInterrupt):
        caption_dataset(source, captioner, tmp_path / "resumed.parquet", batch=2)
    assert caption_dataset(source, captioner, tmp_path / "resumed.parquet", batch=2) == whole and len(calls) == 4
    assert read_caption_facts(tmp_path / "resumed.parquet")["licence"].startswith("BLIP-2: MIT; its language model OPT: non-commercial")


def test_a_gpu_that_is_too_small_is_told(opt_model, toy_folder, tmp_path, monkeypatch):
    def overflow(self, batch):
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    monkeypatch.setattr(Blip2Captioner, "__call__", overflow)
    with pytest.raises(SegGenError, match=r"BLIP-2 does not fit the GPU's memory(.|\n)*2.00 GiB(.|\n)*lower --batch"):
        make_captions(CaptionOptions(str(toy_folder / "dataset.yaml"), "blip2", blip2=options(opt_model)), tmp_path)


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: folder / "nowhere", "cannot be opened"),
    (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:999]) and folder, "cannot be opened"),
    (lambda folder: (folder / "config.json").write_text('{"model_type": "opt"}') and folder, "is no BLIP-2"),
])
def test_what_is_no_whole_blip2_is_named(tmp_path, spoil, message):
    save_tiny_blip2(tmp_path, WORDS)
    with pytest.raises(SegGenError, match=message):
        Blip2Captioner(options(str(spoil(tmp_path))), CATEGORIES)


@pytest.mark.parametrize("changes", [{"beams": 0, "nucleus": 0}, {"beams": 6}, {"top_p": 0.0}, {"dtype": "int8"}, {"max_tokens": 0}])
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(SegGenError):
        Blip2Options(**changes)


def test_beams_are_read():
    assert parse_beams("2x5") == (2, 5) and parse_beams("0") == (0, 1) and parse_beams("3") == (3, 3)
    with pytest.raises(SegGenError, match="cannot be read"):
        parse_beams("1x5x")


def test_two_processes_make_the_table_of_one(opt_model, toy_folder, tmp_path):
    settings = options(opt_model, blocklist="", dtype="float32")
    alone = make_captions(CaptionOptions(str(toy_folder / "dataset.yaml"), "blip2", blip2=settings), tmp_path / "alone", batch=3, device="cpu")
    program = ("import sys; from seggen_d2.captions import dataset; dataset.CHUNK = 2\n"
               "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')")
    (tmp_path / "small_chunks.py").write_text(program)
    root = Path(__file__).parents[1]
    words = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
             "--dynamo_backend", "no", "--main_process_port", "0", str(tmp_path / "small_chunks.py"), str(root / "tools" / "make_captions.py"),
             "--dataset", str(toy_folder / "dataset.yaml"), "--output", str(tmp_path / "two"), "--captioner", "blip2", "--model", opt_model,
             "--beams", "2x3", "--nucleus", "2", "--max-tokens", "6", "--batch", "3", "--dtype", "float32"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_captions(tmp_path / "two" / "captions.parquet") == alone and "process 2/2" in done.stderr
    with pytest.raises(SegGenError, match="begun with other options"):
        make_captions(CaptionOptions(str(toy_folder / "dataset.yaml"), "blip2", blip2=replace(settings, seed=5)), tmp_path / "two", device="cpu")


def test_the_benchmark_gives_its_rows():
    from seggen_d2.captions.bench import WAYS, caption_rows

    rows = caption_rows(images=2, batch=2, turns=1)
    assert len(rows) == len(WAYS) and all(row["value"] > 0 and row["ratio"] > 0 for row in rows)
