# Your own images and masks in folders (see segmentation/data/folders.py) over EfficientNet-Lite0. Copy this file, and
# change the folder and the classes, which are those of the labels 0, 1, ..; 255 is not counted. One recipe serves all:
#   python tools/train_cls.py MINE.py --scheme org share-full      both networks, and whether they differ
#   python tools/search.py MINE.py                                 the search, and its scheme beside both
#   python tools/trim.py work_dirs/MINE/share-full-seed0/segmentor.pth --config MINE.py
# Schemes are scored on val. Without a test part, give test_dataloader the val part, and data = dict(val_share=0.2).
_base_ = "_base_/lite0.py"  # in another folder: its whole path
title = "own images"
_classes = ["background", "person"]
_own = dict(_delete_=True, type="FolderSegmentation", data_root="data/own", classes=_classes)
train_dataloader = dict(dataset=dict(part="train", pipeline={{_base_.train_dataloader.dataset.pipeline}}, **_own))
val_dataloader = dict(dataset=dict(part="val", pipeline={{_base_.val_dataloader.dataset.pipeline}}, **_own))
test_dataloader = dict(dataset=dict(part="test", pipeline={{_base_.val_dataloader.dataset.pipeline}}, **_own))
model = dict(decode_head=dict(num_classes=len(_classes)))
