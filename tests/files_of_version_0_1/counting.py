# The recipe of the counter here.
model = dict(arch="tiny", attention="dia", scheme="1011", stride=4, head_channels=8)
data = dict(crop=32, workers=0, val_share=0.2)
train = dict(epochs=3, batch_size=2, lr=2e-3, schedule="cosine", validate_every=1)
