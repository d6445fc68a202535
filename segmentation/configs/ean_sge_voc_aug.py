_base_ = ["_base_/pspnet.py", "_base_/voc_aug.py"]
model = dict(backbone=dict(attention="sge", scheme="paper_ean_sge_resnet50"))
