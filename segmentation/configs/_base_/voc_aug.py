# VOC 2012 with the masks of SBD (Hariharan et al., ICCV 2011) merged in, 10,582 training images:
# python segmentation/prepare.py --sbd DIR makes the folder and the list.
_base_ = "voc.py"
train_dataloader = dict(
    dataset=dict(
        ann_file="ImageSets/Segmentation/trainaug.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    )
)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=4000)
