# All studies of the searches that a CPU can make in an evening: ResNet-20, 9 blocks, on real CIFAR-100 images. The
# supernet takes about six minutes on two cores, a network about five on one (tools/correlation.py trains many, and
# tools/search.py --methods compares the searches on the same supernet). A training sees each of 30,000 images four
# times: for the same time, more images with fewer passes leave less chance in the accuracy than few with many.
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
