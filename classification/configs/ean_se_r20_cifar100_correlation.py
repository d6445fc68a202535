# The correlation study (tools/correlation.py) for one CPU core: ResNet-20, 9 blocks, on real CIFAR-100 images; the
# supernet and 12 networks take about an hour. A training sees each of 30,000 images four times: for the same time,
# more images with fewer passes leave less chance in the accuracy than few images with many passes.
_base_ = "_base_/cifar100.py"
_short = dict(
    _delete_=True,
    batch_size=64,
    lr=0.1,
    schedule="cosine",
    warmup_epochs=0.5,
    nesterov=True,
    weight_decay=5e-4,
    precision="bfloat16",
    channels_last=True,
)
model = dict(arch="resnet20", attention="se")
data = dict(train_per_class=300, val_per_class=50)  # 30,000 images; the search splits them into 25,000 and 5,000
supernet = dict(epochs=10, **_short)
search = dict(steps=200, max_evaluations=100)
train = dict(epochs=4, **_short)
note = "A subset of CIFAR-100's training images and a short schedule; all 10,000 test images."
