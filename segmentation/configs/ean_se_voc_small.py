_base_ = "_base_/small.py"
model = dict(backbone=dict(scheme="ean_se_resnet29_cifar100_subset20k"))
