# The synthetic crowd of `prepare.py --demo`: a small network from random weights, about a minute on one CPU core.
model = dict(arch="resnet20", head_channels=32)
data = dict(crop=128, workers=1)
train = dict(epochs=30, batch_size=4, lr=2e-3, weight_decay=0.0, schedule="cosine", validate_every=3)
