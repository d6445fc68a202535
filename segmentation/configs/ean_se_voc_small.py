_base_ = "_base_/small.py"
model = dict(backbone=dict(scheme="ean_se_resnet20_cifar100_subset30k"))
