# ShanghaiTech part A on a CPU: a counter over the small CIFAR network, from weights of our own classification run.
# The learning rate and batch-norm mode were chosen on the held-out training images, in ten-epoch runs of Org.
model = dict(arch="resnet29")
data = dict(crop=256, workers=1)
train = dict(
    epochs=40,
    batch_size=8,
    lr=1e-3,
    batch_norm="train",
    schedule="cosine",
    validate_every=5,
    precision="bfloat16",
    channels_last=True,
)
