_base_ = "_base_/camvid_lite0.py"
model = dict(backbone=dict(attention="se"))
