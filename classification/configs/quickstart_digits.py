# The quickstart: scikit-learn's 8x8 digits, a small network, the whole pipeline in minutes on two CPU cores.
model = dict(arch="resnet20", attention="se")
data = dict(name="digits", val_per_class=40, augment=dict(crop_padding=1, flip=False))
supernet = dict(epochs=30, batch_size=64, lr=0.1, schedule="cosine", weight_decay=5e-4, val_interval=10)
search = dict(method="ean", steps=120, options=dict(schemes_per_step=2))
train = dict(epochs=20, batch_size=64, lr=0.1, schedule="cosine", weight_decay=5e-4)
retrain = ["org", "share-full", "ean"]
seeds = [0, 1, 2]
note = "Digits are easy and 500 images are few: this shows the pipeline at work, not what attention is worth."
