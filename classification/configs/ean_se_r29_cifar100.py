# As ean_se_r20_cifar100.py, with the paper's kind of block: ResNet-29 (9 bottlenecks, 256 channels in the last stage).
# An image takes about twice the time that it takes in ResNet-20, so that six epochs cost as much as thirteen there.
_base_ = "ean_se_r20_cifar100.py"
model = dict(arch="resnet29")
supernet = dict(epochs=6)
train = dict(epochs=6)
