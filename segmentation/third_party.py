"""What this package uses of `mmseg.datasets`, imported without the lines that mmsegmentation prints meanwhile.

It reports optional packages that it could not import on stdout. Errors are raised as ever.
"""

from __future__ import annotations

import contextlib
import io
import warnings

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mmseg.models  # noqa: F401
    from mmseg.datasets import BaseSegDataset, PascalVOCDataset
    from mmseg.datasets.transforms import Resize
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.utils import register_all_modules

__all__ = ["BaseDecodeHead", "BaseSegDataset", "PascalVOCDataset", "Resize", "ignore_warnings", "register_all_modules"]


def ignore_warnings() -> None:
    """Hide the warnings of the OpenMMLab libraries and of torch for the rest of the process; for commands."""
    warnings.filterwarnings("ignore", module=r"(mmcv|mmengine|mmseg|torch)(\..*)?$")
