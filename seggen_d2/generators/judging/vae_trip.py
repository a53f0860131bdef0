"""A base's VAE alone, for what needs no other network: colour maps through it and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json

from ..bases import FAULTS, base_place, load_base
from ..geometry import Geometry
from ..sampling.options import SamplerOptions
from ..sampling.pixels import PixelDecoder

PAPER_SIDE = 768  # the paper's pixel budget is this squared
EXPECTED = "'toy', a folder of a base or of a VAE, a .safetensors base, or a hub name"


@dataclass(frozen=True, eq=False)
class VaeTrip:
    """Images ``(B, H, W, 3)`` uint8 to what the VAE gives back of them; latents are the posteriors' means.

    Args:
        vae: in float32.
        side: pixels of the squares that its base works at.
    """

    vae: AutoencoderKL
    side: int = PAPER_SIDE

    def __call__(self, images: np.ndarray) -> np.ndarray:
        coder = PixelDecoder(self.vae, SamplerOptions())
        return coder.decode(coder.encode(images))

    @property
    def factor(self) -> int:
        """Pixels a latent pixel, along each side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def geometry(self, side: int = 0, max_shrink: float = 0.0) -> Geometry:
        """Aspect buckets of ``side`` squared pixels (0: the base's own); 768 gives those of the generators' defaults."""
        side = side or self.side
        multiple = max(1, side // 12 // self.factor) * self.factor
        return Geometry(pixels=side * side, multiple=multiple, max_shrink=max_shrink)


def open_vae(name: str, device: str = "auto") -> VaeTrip:
    """Open a VAE in float32.

    Args:
        name: ``toy``, a base's folder (its ``vae`` is taken), a VAE's own folder, a .safetensors checkpoint of a base, or a
            hub name of a base or a VAE.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:0``, ...

    Raises:
        SegGenError: there is none.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name.endswith(".safetensors"):
        vae, side = load_base(name).vae, PAPER_SIDE
    else:
        place = base_place(name)
        vae = _open(name, place)
        side = _side(Path(place), 2 ** (len(vae.config.block_out_channels) - 1))
    return VaeTrip(vae.eval().to(device), side)


def _open(name: str, place: str) -> AutoencoderKL:
    folder = Path(place)
    own = [part for part in ("vae", "") if (folder / part / "config.json").is_file()] if folder.is_dir() else ["vae", ""]
    problems = ["neither config.json nor vae/config.json in it"] if not own else []
    for part in own:
        try:
            kind = AutoencoderKL.load_config(place, subfolder=part or None).get("_class_name")
            if kind != "AutoencoderKL":
                raise ValueError(f"{part or 'the folder'} holds a {kind}")
            return AutoencoderKL.from_pretrained(place, subfolder=part or None, torch_dtype=torch.float32, use_safetensors=True,
                                                 variant=_variant(folder / part))
        except FAULTS as error:
            problems.append(next(iter(str(error).splitlines()), type(error).__name__)[:160])
    raise SegGenError(f"VAE {name} cannot be opened", expected=EXPECTED, found="; ".join(problems),
                      remedy="check the path, or the network for a hub name; make a cut file again")


def _variant(folder: Path) -> str | None:
    """``fp16`` where a folder holds its weights so alone."""
    return "fp16" if list(folder.glob("*.fp16.safetensors")) and not (folder / "diffusion_pytorch_model.safetensors").is_file() else None


def _side(folder: Path, factor: int) -> int:
    """What the UNet beside the VAE works at, but no more than the paper; the paper's where there is none."""
    config = folder / "unet" / "config.json"
    sample = read_json(config, "UNet config").get("sample_size") if config.is_file() else None
    return min(PAPER_SIDE, math.ceil(sample) * factor) if isinstance(sample, (int, float)) else PAPER_SIDE
