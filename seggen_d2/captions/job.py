"""What ``tools/make_captions.py`` does: the dataset, the captioner and this process's share put together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import torch

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.options import check_same_options
from seggen_d2.foundation.processes import join_processes, memory_told
from seggen_d2.sources import load_dataset
from seggen_d2.sources.caption_table import read_captions, read_edits

from .blip2 import Blip2Captioner, Blip2Options
from .dataset import Share, caption_dataset
from .edits import EditOptions, Editor
from .label_list import LabelListCaptioner

CAPTIONERS = ("label-list", "blip2")
TABLE = "captions.parquet"
_LONGEST_WAIT = timedelta(days=7)  # of one process for another's last chunk


@dataclass(frozen=True)
class LabelListOptions:
    """The label-list captioner's; :class:`LabelListCaptioner` tells them."""

    scene: str = "a scene"
    min_share: float = 0.002
    max_names: int = 10
    orders: int = 1
    seed: int = 0


@dataclass(frozen=True)
class CaptionOptions:
    """What to caption, and by what.

    Attributes:
        dataset: a dataset YAML of any task.
        captioner: ``label-list`` or ``blip2``.
        label_list: the former's options.
        blip2: the latter's.
        edits: of the captions, which each run makes anew.
    """

    dataset: str
    captioner: str = "label-list"
    label_list: LabelListOptions = field(default_factory=LabelListOptions)
    blip2: Blip2Options = field(default_factory=Blip2Options)
    edits: EditOptions = field(default_factory=EditOptions)

    def __post_init__(self) -> None:
        check_choice("captioner", self.captioner, CAPTIONERS)

    def deciding(self) -> dict:
        """The options that decide the captions that describe the images, flat."""
        own = asdict(self.label_list if self.captioner == "label-list" else self.blip2)
        if self.captioner == "label-list" and self.label_list.orders == 1:  # nothing is drawn
            own = {name: value for name, value in own.items() if name not in ("orders", "seed")}
        return {"dataset": self.dataset, "captioner": self.captioner, **own}


def parse_beams(text: str) -> tuple[int, int]:
    """``"2x5"``, two captions of five beams, to ``(2, 5)``; ``"0"`` is none.

    Raises:
        SegGenError: it is neither.
    """
    count, _, width = text.partition("x")
    if not count.isdigit() or not (width or "1").isdigit():
        raise SegGenError("the beams cannot be read", expected="CAPTIONSxWIDTH such as 1x5, or 0 for none", found=repr(text))
    return int(count), int(width or max(1, int(count)))


@memory_told("BLIP-2", expected="room for its weights and a batch", remedy="lower --batch, or give --dtype bfloat16; finished chunks are kept")
def make_captions(options: CaptionOptions, output: Path, *, batch: int = 8, device: str = "auto") -> dict[str, tuple[str, ...]]:
    """Caption the dataset into ``output/captions.parquet``; the same call goes on after any stop.

    Under ``accelerate launch`` the processes share the images, each on a device of its own.

    Returns:
        ``{image_id: captions that describe it}``.

    Raises:
        SegGenError: an input is bad, the GPU is too small, or ``output`` was begun with other options.
    """
    check_range("batch", batch, 1, 4096)
    source = load_dataset(options.dataset)
    check_same_options(output, options.deciding())
    editor = Editor(source.categories, options.edits)
    share, place = _share(device)
    captioner = (LabelListCaptioner(source.categories, **asdict(options.label_list)) if options.captioner == "label-list"
                 else Blip2Captioner(options.blip2, source.categories, place))
    return caption_dataset(source, captioner, output / TABLE, batch=batch, share=share, edit=editor)


def told(path: Path) -> str:
    """What the table at ``path`` holds, in a line or two."""
    captions, edits = read_captions(path), read_edits(path)
    first = next(iter(captions.values()))[0]
    lines = [f"{sum(map(len, captions.values()))} captions of {len(captions)} images in {path}, such as: {first!r}"]
    texts = [text for given in edits.texts.values() for text, _ in given]
    lines += [f"{len(texts)} edits of them, attributes drawn again, such as: {texts[0]!r}"] if texts else []
    lines += [f"{len(edits.weights)} images with rare categories, worth up to {max(edits.weights.values()):.1f} times the samples"] if edits.weights else []
    return "\n".join(lines)


def _share(device: str) -> tuple[Share, str | torch.device]:
    """This process's part of the images, and its device: one of its own unless ``device`` names one for all."""
    state = join_processes(_LONGEST_WAIT, cpu=device == "cpu")
    return Share(state.process_index, state.num_processes, state.wait_for_everyone), state.device if device in ("auto", "cpu") else device
