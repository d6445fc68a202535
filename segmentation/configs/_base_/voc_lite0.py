# VOC's people against everything else over EfficientNet-Lite0.
_base_ = "lite0.py"
title = "VOC person subset"
note = "EfficientNet-Lite0, shorter side 320 pixels; one class, person, against everything else."
train_dataloader = dict(dataset=dict(only=["person"]))
val_dataloader = dict(dataset=dict(only=["person"]))
test_dataloader = val_dataloader
data = dict(val_share=0.2)
