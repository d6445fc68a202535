# Pascal VOC 2012, 1,464 training and 1,449 validation images, and how a run on it goes. Crops of 480 pixels, batch 16.
default_scope = "mmseg"
custom_imports = dict(
    imports=[
        f"segmentation.{name}"
        for name in (
            "backbone",
            "data.voc",
            "data.folders",
            "data.transforms",
            "data.sampling",
            "metric",
            "hooks",
            "model.precision",
            "model.gated_dilated_head",
            "data.demo",
        )
    ]
)
crop = (480, 480)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 480), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 480), keep_ratio=True),
    dict(type="LoadAnnotations"),  # after the resizing: truth and score are at the image's own size
    dict(type="PackSegInputs"),
]
_pairs = dict(
    type="VOCSegmentation",
    data_root="data/VOCdevkit/VOC2012",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(ann_file="ImageSets/Segmentation/train.txt", pipeline=train_pipeline, **_pairs),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(ann_file="ImageSets/Segmentation/val.txt", pipeline=test_pipeline, **_pairs),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ClassIoU", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=20000, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=20000, val_interval=2000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False), checkpoint=None)
custom_hooks = [
    dict(type="SeedSteps"),
    dict(type="SaveIterations", interval=1000),
    dict(type="KeepValidations"),
    dict(type="SidePictures", count=4),
]
log_processor = dict(by_epoch=False)
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")], name="visualizer")
env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0), dist_cfg=dict(backend="nccl")
)
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(2048, round(480 * factor)), keep_ratio=True)
                for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
