# DIA, ResNet-164, CIFAR-100: Table 1, upper half.
_base_ = "_base_/cifar100.py"
model = dict(arch="resnet164", attention="dia")
