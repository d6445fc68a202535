_base_ = ["_base_/pspnet.py", "_base_/voc_aug.py"]
model = dict(backbone=dict(scheme="org"))
