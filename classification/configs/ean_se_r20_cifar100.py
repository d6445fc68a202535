# SE, ResNet-20 (9 blocks), all of CIFAR-100, with a schedule short enough to train many networks on a CPU. A network
# takes 20 to 25 minutes of one core; two single-threaded processes (OMP_NUM_THREADS=1) make two at once on two quiet
# ones. Compare its networks with each other only: they are far smaller than the paper's, and trained far shorter.
_base_ = "_base_/cifar100.py"
_short = dict(
    _delete_=True,  # nothing of the base's step schedule stays
    epochs=13,
    batch_size=128,  # the paper's
    lr=0.2,  # twice the paper's: few epochs need large steps; warm-up and Nesterov momentum keep them stable
    schedule="cosine",  # to zero within the few epochs that there are
    warmup_epochs=1.0,
    nesterov=True,
    weight_decay=5e-4,  # usual for short CIFAR schedules; the paper has 1e-4 with 164 epochs
    precision="bfloat16",  # faster than float32 where the processor has AVX512-BF16
    channels_last=True,  # faster again, most of all for bottlenecks
)
model = dict(arch="resnet20", attention="se")
data = dict(val_per_class=50)  # the search splits the 50,000 training images into 45,000 and 5,000; networks get all
supernet = dict(val_interval=1, **_short)
search = dict(steps=200, max_evaluations=100, options=dict(preset="natural"))
train = dict(**_short)
seeds = [0, 1, 2, 3, 4, 5]  # networks are compared seed by seed: six is the fewest that a sign test can call different
note = "All 50,000 training and 10,000 test images of CIFAR-100, and a short schedule."
