# The paper's ImageNet run: section 5.1 of arXiv 2011.14058 and, where it is silent, the released code: the schedules,
# the batch size of the trainings, and three schemes a step. The controller's update is the paper's; the released code's
# is search.options.preset=released. What else differs from that code: docs/departures.md.
data = dict(name="imagenet", val_per_class=100, workers=8)
# The supernet's learning rate is divided by 10 every 40 epochs, and it is trained for 40: so it stays at 0.1.
supernet = dict(epochs=40, batch_size=256, lr=0.1, weight_decay=1e-4, val_interval=5, keep_last=True)
search = dict(method="ean", steps=300, options=dict(schemes_per_step=3), batch_size=256)
train = dict(epochs=120, batch_size=256, lr=0.1, milestones=[30, 60, 90], weight_decay=1e-4, keep_last=True)
retrain = ["org", "share-full", "ean"]
