"""Bases that generators start from: SDXL and models of its shape, from a folder, a hub name, or one .safetensors file.

A base has two text encoders, a UNet with added time ids, and a noise schedule by betas; which of epsilon, velocity or clean
latents it predicts is read from it. What is not of this shape is refused before any weight is read.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes, read_json
from seggen_d2.foundation.seeds import fingerprint_of_files

from .base_shape import KEYS, PARTS, SDXL, check_shape, not_sdxl

KNOWN_LICENCES = {SDXL: "CreativeML Open RAIL++-M"}
UNKNOWN_LICENCE = "unknown: see the base's own terms"
FAULTS = (OSError, ValueError, RuntimeError, SafetensorError)


def load_base(name: str, *, config: str = "", dtype: torch.dtype = torch.float32) -> StableDiffusionXLPipeline:
    """Open the base that generators start from.

    Args:
        name: ``toy`` for the one in the package, a diffusers folder, a .safetensors checkpoint of the original layout, or a
            hub name such as ``stabilityai/stable-diffusion-xl-base-1.0``.
        config: for a single file: the folder or hub name that gives configurations and tokenizers; "" is SDXL-base's.

    Raises:
        SegGenError: it is not there, is pickled, or is not of SDXL's shape (what is missing is named).
    """
    if Path(name).suffix == ".safetensors":
        return _open_single_file(Path(name), config or SDXL, dtype)
    if Path(name).is_file() or Path(name).suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise SegGenError(f"base {name} is no .safetensors file", expected="'toy', a diffusers folder, a .safetensors file, or a hub name",
                          found=f"a {Path(name).suffix or 'plain'} file", remedy="pickled checkpoints can run code and are not opened: take "
                          "the model's .safetensors file, or convert it on a machine that you can spare")
    place = base_place(name)
    try:
        check_shape(name, place)
        return open_pipeline(StableDiffusionXLPipeline, place, dtype, f"base {name}")
    except FAULTS as error:
        if isinstance(error, SegGenError):
            raise
        raise _unopened(f"base {name}", error) from error


def base_place(name: str) -> str:
    """Where diffusers finds a base: the package's own folder for ``toy``, else the name."""
    return str(resources.files(__package__) / "toy_base") if name == "toy" else name


def base_fingerprint(name: str) -> str:
    """Of the base's UNet, or of a single file; "" for a hub name, which tells itself."""
    place = Path(base_place(name))
    files = [place] if place.is_file() else sorted(place.glob("unet/*.safetensors"))
    return fingerprint_of_files(files) if files else ""


def open_pipeline(kind: type[DiffusionPipeline], place: str, dtype: torch.dtype, what: str) -> DiffusionPipeline:
    """Open a diffusers folder or hub name, safetensors alone, without progress bar and watermark; the VAE in float32.

    Raises:
        SegGenError: it is not there, or not whole.
    """
    halves = list(Path(place).glob("unet/*.fp16.safetensors")) and not list(Path(place).glob("unet/diffusion_pytorch_model.safetensors"))
    try:
        pipeline = kind.from_pretrained(place, torch_dtype={"vae": torch.float32, "default": dtype}, add_watermarker=False,
                                        use_safetensors=True, variant="fp16" if halves else None)
    except FAULTS as error:
        raise _unopened(what, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _unopened(what: str, error: Exception) -> SegGenError:
    return SegGenError(f"{what} cannot be opened", expected="whole SDXL files in safetensors: 'toy', a folder, a .safetensors file, or a hub name",
                       found=next(iter(str(error).splitlines()), type(error).__name__)[:200],
                       remedy="check the path, or the network for a hub name; make a cut file again")


def local_folder(name: str, what: str) -> Path:
    """The folder itself, or a hub repository's copy on this disk, fetched where it is not there yet.

    Raises:
        SegGenError: there is no such folder, and the hub gives none.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name))
    except FAULTS as error:
        raise SegGenError(f"{what} {name} is not there", expected="a folder, or a hub name",
                          found=next(iter(str(error).splitlines()), type(error).__name__)[:200],
                          remedy="check the path, or the network for a hub name") from error


# -- single files ----------------------------------------------------------------------------------------------------


def _open_single_file(path: Path, config: str, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    header = read_header(path)
    shapes = header["shapes"]
    missing = [PARTS.get(part, part) for part, key in KEYS.items() if key not in shapes]
    if not missing and shapes[KEYS["unet"]][1] != 4:
        missing.append(f"a UNet that takes latents alone (4 channels; it takes {shapes[KEYS['unet']][1]})")
    if "edm_mean" in shapes:
        missing.append("a noise schedule by betas (it has EDM's)")
    if missing:
        raise not_sdxl(str(path), missing, f"a file of {len(shapes)} tensors")
    folder = _config_folder(config, path)
    try:
        pipeline = StableDiffusionXLPipeline.from_single_file(str(path), config=str(folder), torch_dtype=dtype, local_files_only=True,
                                                              add_watermarker=False)
    except (*FAULTS, KeyError, TypeError) as error:
        raise _unopened(f"base {path}", error) from error
    lacking = [f"{part}.{key}" for part in ("unet", "vae", "text_encoder", "text_encoder_2")
               for key, value in getattr(pipeline, part).state_dict().items() if value.is_meta]
    if lacking:  # diffusers leaves without values what it does not find
        raise SegGenError(f"base {path} lacks weights of its configurations", expected=f"those of {config}", found=", ".join(lacking[:5]),
                          remedy="name the folder of the model that the file is made from as base_config")
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, **_prediction_of(header))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def read_header(path: Path) -> dict[str, Any]:
    """``{"shapes": {tensor: its shape}, "metadata": {...}}`` of a safetensors file, without its tensors.

    Raises:
        SegGenError: the file is missing, cut, or another format.
    """
    if not path.is_file():
        read_bytes(path, "base")  # names the folder's files
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            return {"shapes": {name: file.get_slice(name).get_shape() for name in names}, "metadata": file.metadata() or {}}
    except FAULTS as error:
        raise SegGenError(f"base {path} cannot be read", expected="a whole .safetensors file", found=str(error)[:200],
                          remedy="it may be cut, or another format under this name: download it again") from error


def _prediction_of(header: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint tells of its prediction type: marker tensors, else its metadata; nothing for epsilon."""
    told = str(header["metadata"].get("modelspec.prediction_type", "")).lower()
    if "v_pred" not in header["shapes"] and not told.startswith("v"):
        return {}
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in header["shapes"] else {}
    return {"prediction_type": "v_prediction", **zero}


def _config_folder(config: str, path: Path) -> Path:
    """The folder of configurations and tokenizers; a hub's is fetched once (some 3 MB, no weights)."""
    if Path(config).is_dir():
        return Path(config)
    try:
        return Path(snapshot_download(config, allow_patterns=["*.json", "*.txt", "*/*.json", "*/*.txt"]))
    except FAULTS as error:
        raise SegGenError(f"base {path} needs configurations and tokenizers, which a single file does not hold",
                          expected=f"the network once, for {config}, or base_config: FOLDER", found=str(error).splitlines()[0][:200],
                          remedy="give base_config: FOLDER, any diffusers folder of an SDXL model (its weights are not read)") from error


# -- licences ----------------------------------------------------------------------------------------------------------


def base_licence(name: str) -> str:
    """The licence that a base's own files name, or that is known of its hub name."""
    place = Path(base_place(name))
    if place.suffix == ".safetensors" and place.is_file():
        return read_header(place)["metadata"].get("modelspec.license") or UNKNOWN_LICENCE
    if (place / "base.json").is_file():
        return read_json(place / "base.json", "base facts").get("licence", UNKNOWN_LICENCE)
    return _card_licence(place / "README.md") or KNOWN_LICENCES.get(name, UNKNOWN_LICENCE)


def _card_licence(readme: Path) -> str:
    """What the YAML head of a downloaded model's README names as its licence."""
    if not readme.is_file():
        return ""
    parts = readme.read_text("utf-8", errors="replace").split("---\n")
    lines = [line for line in parts[1].splitlines() if line.startswith(("license:", "license_name:"))] if len(parts) > 2 and not parts[0] else []
    return lines[-1].split(":", 1)[1].strip().strip("'\"") if lines else ""
