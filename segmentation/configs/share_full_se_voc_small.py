_base_ = "_base_/small.py"
model = dict(backbone=dict(scheme="share-full"))
