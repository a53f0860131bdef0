"""Labelled examples for the generators: (caption, colour map, image), as latents, both ways round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from tqdm import tqdm

from seggen_d2.segmentation import ColorCodec, Palette, resize_labels
from seggen_d2.sources import FolderSource, read_sample

from .images import resize_image, to_signed, to_unit
from .prompts import PromptTable
from .training import Batch


@dataclass(frozen=True)
class LabelledPictures:
    """A labelled dataset at one size.

    Attributes:
        images: ``(N, H, W, 3)`` uint8 RGB photos.
        color_maps: ``(N, H, W, 3)`` uint8 colour maps of their masks.
        captions: N captions.
        sizes: ``(N, 2)`` original height and width, pixels.
    """

    images: np.ndarray
    color_maps: np.ndarray
    captions: list[str]
    sizes: np.ndarray


def read_labelled(source: FolderSource, captions: dict[str, str], palette: Palette, height: int, width: int) -> LabelledPictures:
    """Read a dataset at ``height`` x ``width``; label maps are resized by nearest neighbour, then coloured.

    Raises:
        SegGenError: a file cannot be read or does not fit its record.
    """
    codec = ColorCodec(palette, source.categories.ignore_id)
    images, maps, sizes, records = [], [], [], source.records()
    for record in tqdm(records, desc="labelled pictures", unit="image"):
        image, labels = read_sample(record, source.categories)
        images.append(resize_image(image, height, width))
        maps.append(codec.encode(resize_labels(labels, height, width)))
        sizes.append(labels.shape)
    return LabelledPictures(np.stack(images), np.stack(maps), [captions[r["image_id"]] for r in records], np.array(sizes))


class LabelledExamples:
    """Examples for Text2Mask (target: the colour map) or Mask2Img (target: the photo, condition: the colour map)."""

    def __init__(self, pictures: LabelledPictures, pipeline: StableDiffusionXLPipeline, *, target: str):
        targets = pictures.color_maps if target == "color_map" else pictures.images
        self.mean, self.std = encode_pictures(pipeline, _both_ways(targets))
        self.conditions = None if target == "color_map" else _both_ways(pictures.color_maps)
        self.prompts = PromptTable(pipeline, pictures.captions * 2)
        self.original_size = np.median(pictures.sizes, axis=0).astype(int).tolist()
        self.time_ids = time_ids(np.concatenate([pictures.sizes] * 2), *pictures.images.shape[1:3])

    def __len__(self) -> int:
        return len(self.mean)

    def batch(self, numbers: np.ndarray) -> Batch:
        embeds, pooled = self.prompts[torch.from_numpy(numbers)]
        batch = {"latent_mean": self.mean[numbers], "latent_std": self.std[numbers], "prompt_embeds": embeds,
                 "pooled": pooled, "time_ids": self.time_ids[numbers]}
        return batch if self.conditions is None else {**batch, "condition": to_unit(self.conditions[numbers])}


def _both_ways(images: np.ndarray) -> np.ndarray:
    """The images, then their mirror images."""
    return np.concatenate([images, images[:, :, ::-1]])


def time_ids(sizes: np.ndarray, height: int, width: int) -> torch.Tensor:
    """SDXL's micro-conditioning ``(N, 6)``: original height and width, crop top and left (0), target height and width.

    Source: Podell et al. 2023, section 2.2; the order is that of ``StableDiffusionXLPipeline._get_add_time_ids``.
    """
    rest = np.broadcast_to([0, 0, height, width], (len(sizes), 4))
    return torch.from_numpy(np.concatenate([sizes, rest], 1)).float()


@torch.no_grad()
def encode_pictures(pipeline: StableDiffusionXLPipeline, images: np.ndarray, chunk: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """``(N, H, W, 3)`` uint8 to the mean and standard deviation of scaled latents, each ``(N, C, h, w)`` on the CPU."""
    parts = []
    for start in tqdm(range(0, len(images), chunk), desc="latents", unit="batch", mininterval=1):
        pixels = to_signed(images[start : start + chunk]).to(pipeline.vae.device, pipeline.vae.dtype)
        parts.append(pipeline.vae.encode(pixels).latent_dist)
    factor = pipeline.vae.config.scaling_factor
    return tuple(torch.cat([getattr(p, name).float().cpu() for p in parts]) * factor for name in ("mean", "std"))
