_base_ = ["_base_/pspnet.py", "_base_/voc.py"]
model = dict(backbone=dict(attention="se", scheme="share-full"))
