# The recipe of the runs here: scikit-learn's digits, and the network of four blocks in architecture.py.
model = dict(arch="tiny", attention="se")
data = dict(name="digits", train_per_class=16, val_per_class=6, augment=dict(crop_padding=1, flip=False))
supernet = dict(epochs=3, batch_size=20, lr=0.1, schedule="cosine", weight_decay=5e-4, val_interval=2)
search = dict(method="ean", steps=6, options=dict(schemes_per_step=2))
train = dict(epochs=3, batch_size=20, lr=0.1, schedule="cosine", weight_decay=5e-4)
retrain = ["org", "ean"]
