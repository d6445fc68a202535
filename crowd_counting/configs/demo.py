# The synthetic crowd of `prepare.py --demo`, which a search draws on first use: a small network from random weights.
# Training takes about a minute on one CPU core, and `tools/search.py` about two.
model = dict(arch="resnet20", head_channels=32)
data = dict(part="demo", crop=128, workers=1)
train = dict(epochs=30, batch_size=4, lr=2e-3, weight_decay=0.0, schedule="cosine", validate_every=3)
supernet = dict(epochs=20)  # all else as in train
search = dict(method="ean", steps=40, options=dict(schemes_per_step=2))
retrain = ["org", "ean"]
note = "Drawn crowds are easy: this shows the commands at work, not what attention is worth."
