# The pipeline on real CIFAR-100 images for a CPU: ResNet-29 (9 blocks), 20,000 of the 50,000 training images, 10
# epochs instead of 164. About an hour on two cores. Its accuracies are not the paper's set-up and say nothing of it.
_base_ = "_base_/cifar100.py"
_short = dict(
    _delete_=True,
    batch_size=128,
    lr=0.1,
    schedule="cosine",
    warmup_epochs=1.0,
    nesterov=True,
    weight_decay=5e-4,
    precision="bfloat16",
    channels_last=True,
)
model = dict(arch="resnet29", attention="se")
data = dict(train_per_class=200, val_per_class=50)  # 20,000 images; the search splits them into 15,000 and 5,000
supernet = dict(epochs=15, val_interval=5, **_short)
search = dict(steps=200, max_evaluations=100)
train = dict(epochs=10, **_short)
seeds = [0, 1]
note = "A subset of CIFAR-100's training images and a short schedule; all 10,000 test images."
