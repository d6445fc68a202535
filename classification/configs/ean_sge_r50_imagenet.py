# SGE, ResNet-50, ImageNet: Table 1, lower half.
_base_ = "_base_/imagenet.py"
model = dict(arch="resnet50", attention="sge")
