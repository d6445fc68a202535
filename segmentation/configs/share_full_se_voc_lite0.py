_base_ = "_base_/voc_lite0.py"
model = dict(backbone=dict(attention="se"))
