_base_ = ["_base_/deeplabv3plus.py", "_base_/voc.py"]
model = dict(backbone=dict(attention="sge", scheme="paper_ean_sge_resnet50"))
