"""Batches of image files: upright, resized as usual, the same for any number of workers and ranks."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, PILToTensor, RandomResizedCrop, Resize

from ean_core.data import Augment, FolderSource, Loader, load_data, make_loader
from ean_core.data.crops import eval_crop, random_box
from ean_core.data.read_image import read_image
from ean_core.utils.errors import EANError


@pytest.fixture
def source(image_root) -> FolderSource:
    """15 training files whose labels, 0 to 14, say which one they are."""
    return replace(load_data("folder", image_root, image_size=24).train, labels=torch.arange(15))


def training(source: FolderSource, **options) -> Loader:
    return make_loader(source, None, **{"batch_size": 4, "train": True, "workers": 0, "drop_last": False, **options})


def views(loader: Loader) -> dict[int, list[int]]:
    """What one epoch makes of each image."""
    return {
        label: image.flatten().tolist()
        for batch in loader
        for label, image in zip(batch["labels"].tolist(), batch["inputs"], strict=True)
    }


@pytest.mark.parametrize(("name", "turned"), [("folder", True), ("imagenet", False)])
def test_photos_of_the_users_own_are_shown_upright(image_root: Path, name: str, turned: bool) -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:20] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    Image.fromarray(pixels).save(image_root / "val" / "ant" / "0.JPEG", exif=exif)
    data = load_data(name, image_root, image_size=24)
    first = next(iter(make_loader(data.test, None, batch_size=1, train=False, workers=0)))["inputs"][0].float()
    assert (first[:, :10].mean() < first[:, 14:].mean()) == turned


def test_images_of_any_mode_are_trained_on_as_they_are_predicted(image_root: Path) -> None:
    ramp = np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40)
    clear = np.dstack([np.zeros((40, 40, 3), np.uint8), np.linspace(0, 255, 1600).astype(np.uint8).reshape(40, 40)])
    Image.fromarray(ramp).save(image_root / "val" / "ant" / "0.png")
    Image.fromarray(clear).save(image_root / "val" / "ant" / "00.png")
    data = load_data("folder", image_root, image_size=24)
    files = {Path(path).name: index for index, path in enumerate(data.test.paths)}
    for name in ("0.png", "00.png"):
        one = torch.tensor([files[name]])
        seen = next(iter(make_loader(data.test, one, batch_size=1, train=False, workers=0)))["inputs"][0]
        photo = read_image(image_root / "val" / "ant" / name)
        assert torch.equal(seen, eval_crop(photo, 24, data.test.resize))
        assert 100 < seen.float().mean() < 155  # all of a ramp, not what is left of it above 255


def test_evaluation_is_the_usual_resize_and_centre_crop(source):
    usual = Compose([Resize(source.resize), CenterCrop(24), PILToTensor()])
    loader = make_loader(source, torch.tensor([7, 4, 0]), batch_size=2, train=False, workers=0)
    batches = list(loader)
    assert [batch["labels"].tolist() for batch in batches] == [[7, 4], [0]]
    assert batches[0]["inputs"].dtype == torch.uint8
    for batch in batches:
        for label, image in zip(batch["labels"].tolist(), batch["inputs"], strict=True):
            assert torch.equal(image, usual(Image.open(source.paths[label]).convert("RGB")))


@pytest.mark.parametrize(("height", "width"), [(40, 52), (64, 64), (5, 300), (300, 5), (1, 1)])
def test_random_box_draws_as_torchvision_does(height, width):
    image = torch.zeros(3, height, width)
    for seed in range(30):
        own = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            expected = RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
        assert random_box(height, width, own) == expected


@pytest.mark.parametrize("size", [(4, 300), (300, 4)])
def test_the_middle_of_a_long_image_is_that_of_the_whole_one(size):
    """A longer one would take gigabytes if it was resized as a whole."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    usual = Compose([Resize(28), CenterCrop(24), PILToTensor()])
    assert (eval_crop(image, 24, 28).int() - usual(image).int()).abs().max() <= 1


def test_epochs_do_not_depend_on_workers_batches_ranks_or_resuming(source):
    loader = training(source)
    epochs = [views(loader) for _ in range(3)]
    assert set(epochs[0]) == set(range(15))
    assert epochs[0] != epochs[1]

    with_workers = training(source, workers=2, batch_size=3)
    assert with_workers.num_workers == 2
    assert [views(with_workers), views(with_workers)] == epochs[:2]
    with_workers.sampler.set_epoch(0)
    next(iter(with_workers))  # an epoch broken off, with batches still under way in the workers
    assert views(with_workers) == epochs[1]

    resumed = training(source)
    resumed.set_epoch(2)
    assert views(resumed) == epochs[2]
    shares = [views(training(source, rank=rank, world_size=3)) for rank in range(3)]
    assert {len(share) for share in shares} == {5}
    assert shares[0] | shares[1] | shares[2] == epochs[0]
    assert views(training(source, seed=1)) != epochs[0]


def test_order_is_the_same_with_workers(source):
    orders = [[batch["labels"].tolist() for batch in training(source, workers=workers, seed=3)] for workers in (0, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_augment_switches_flip_and_cutout(source):
    plain = views(training(source, augment=Augment(flip=False)))
    flipped = views(training(source))
    for label in range(15):
        image = torch.tensor(plain[label]).view(3, 24, 24)
        assert flipped[label] in (plain[label], image.flip(2).flatten().tolist())
    assert 0 < sum(flipped[label] != plain[label] for label in range(15)) < 15
    blank = views(training(source, augment=Augment(cutout=100, cutout_fill=9)))
    assert all(set(image) == {9} for image in blank.values())


def test_global_random_state_is_left_alone(source):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for workers in (0, 1):
        for train in (True, False):
            list(make_loader(source, None, batch_size=8, train=train, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_file_is_named_in_one_sentence(source, workers):
    path = Path(source.paths[6])
    path.write_bytes(path.read_bytes()[:-400])
    try:
        list(training(source, workers=workers))
        message = "nothing was raised"
    except EANError as error:
        message = str(error)
    assert message.startswith(f"cannot decode the image {path} (")
    assert "truncated" in message
    assert message.endswith("replace or remove the file")
    assert "\n" not in message
    assert "Traceback" not in message


def test_workers_end_at_once_with_a_loader_that_the_garbage_collector_frees(source):
    loader = training(source, workers=1)
    next(iter(loader))
    loader.owner = [loader]  # as a runner, its loops and their loader refer to each other
    start = time.perf_counter()
    del loader
    gc.collect()
    assert time.perf_counter() - start < 4  # torch waits 5 s for a worker that does not hear of the end


def test_a_file_that_is_no_image_and_one_that_is_gone(source):
    Path(source.paths[0]).write_bytes(b"not an image at all")
    Path(source.paths[1]).unlink()
    for index, reason in ((0, "cannot decode the image .*cannot identify image file"), (1, r"2\.JPEG does not exist")):
        loader = make_loader(source, torch.tensor([index]), batch_size=1, train=False, workers=0)
        with pytest.raises(EANError, match=reason):
            list(loader)


def test_wrong_options(source):
    with pytest.raises(EANError, match=r"workers is -1"):
        training(source, workers=-1)
    with pytest.raises(EANError, match=r"image_size=64 with resize=32"):
        FolderSource(source.paths, source.labels, image_size=64, resize=32)
    with pytest.raises(EANError, match=r"one torch.int64 number for each of the 15 files"):
        FolderSource(source.paths, source.labels[:3])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_reach_a_gpu(source):
    batch = next(iter(training(source, workers=2, device="cuda")))
    assert batch["inputs"].device.type == batch["labels"].device.type == "cuda"
