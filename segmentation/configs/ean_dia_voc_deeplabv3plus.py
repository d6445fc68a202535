_base_ = ["_base_/deeplabv3plus.py", "_base_/voc.py"]
model = dict(backbone=dict(attention="dia", scheme="paper_ean_dia_resnet50"))
