# The connections are those of the last stage, where SE pays most in a mobile trunk by PP-LCNet (arXiv 2109.15099); no
# search has chosen them. `python tools/search.py segmentation/configs/ean_se_voc_lite0.py` does.
_base_ = "_base_/voc_lite0.py"
model = dict(backbone=dict(attention="se", scheme="0 | 00 | 00 | 000 | 111 | 0000 | 0"))
