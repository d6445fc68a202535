_base_ = "_base_/voc_lite0.py"
