"""Packaging; pyproject.toml holds the tools' settings."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "seggen_d2" / "__init__.py").read_text()).group(1)

# The bare package goes beside somebody's Detectron2: no floor under numpy, no torch, no opencv (theirs is used).
BARE = ["numpy", "iopath", "fvcore", "pillow", "pyyaml", "tqdm"]
# From 26 on pyarrow fails to load beside numpy 1, without declaring it; from Python 3.13 on there is no numpy 1.
BARE += ['pyarrow<26; python_version < "3.13"', 'pyarrow; python_version >= "3.13"']
# opencv-python-headless is opencv-python without the display libraries, so it imports on a server.
IMAGES = ["opencv-python-headless", "psutil"]
# peft holds the LoRA adapters that 24 GB cards train, and the distilled ones that sample in 4 to 8 steps.
GENERATE = [*IMAGES, "torch>=2.4", "diffusers>=0.36", "transformers>=5.0", "accelerate>=1.0", "safetensors", "tokenizers", "peft>=0.17"]
# torchmetrics counts FID and KID from features of any module; the usual packages for it need torchvision.
TRAIN = [*IMAGES, "torch>=2.4", "transformers>=5.9", "accelerate>=1.0", "safetensors", "pycocotools", "scipy", "torchmetrics>=1.4"]
# Beside a Detectron2, which brings torch and pycocotools, and an opencv where its users have one: what SegGenMask2Former needs on top.
PLUGIN = ["transformers>=5.9", "safetensors", "scipy"]
RAY = ["ray[data]>=2.30"]
# Banks on an object store; other stores than S3 need their own fsspec package (gcsfs, adlfs, ...).
S3 = ["fsspec", "s3fs"]
# moto is the S3-like server, webdataset and datasets are the readers, that the tests run against.
DEV = ["pytest", "ruff", "build", "tensorboard", "moto[server]", "webdataset", "datasets"]

setup(
    name="seggen_d2",
    version=VERSION,
    description="SegGen (ECCV 2024): synthetic masks and images for training segmentation models",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["seggen_d2", "seggen_d2.*"]),
    include_package_data=True,
    package_data={"seggen_d2": ["**/*.json", "**/*.safetensors", "**/*.html", "**/*.png", "**/*.css", "**/*.js", "**/*.yaml", "**/*.md", "**/*.txt"]},
    install_requires=BARE,
    extras_require={
        "generate": GENERATE,
        "train": TRAIN,
        "plugin": PLUGIN,
        "ray": RAY,
        "s3": S3,
        "dev": [*GENERATE, *TRAIN, *RAY, *S3, *DEV],
        "all": sorted({*GENERATE, *TRAIN, *RAY, *S3}),
    },
)
