_base_ = "_base_/camvid_lite0.py"
