# The paper's CIFAR-100 run: section 5.1 of arXiv 2011.14058. The retraining is that of the authors' earlier papers; the
# reward's weights and the controller's settings (the defaults) are those of the released ImageNet code, which is an
# assumption: the paper gives none, and the CIFAR code is not public. What differs: docs/departures.md.
data = dict(name="cifar100", val_per_class=100, augment=dict(crop_padding=4, flip=True))
supernet = dict(
    epochs=150,
    batch_size=128,
    lr=0.1,
    milestones=[74, 112],  # not published: the retraining's 81 and 122 of 164, scaled to 150 epochs
    weight_decay=1e-4,
    val_interval=10,
    keep_last=True,
)
search = dict(method="ean", steps=1000)
train = dict(epochs=164, batch_size=128, lr=0.1, milestones=[81, 122], weight_decay=1e-4, keep_last=True)
retrain = ["org", "share-full", "ean"]
