"""Batches from a tensor of images: each image once an epoch, shared by ranks, resumed and augmented by seed alone."""

from __future__ import annotations

import pytest
import torch

from ean_core.data import ArraySource, Augment, Loader, make_loader
from ean_core.data.seeding import generator_for
from ean_core.utils.errors import EANError

Epoch = list[dict[str, torch.Tensor]]


def same(first: Epoch, second: Epoch) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a["inputs"], b["inputs"]) and torch.equal(a["labels"], b["labels"])
        for a, b in zip(first, second, strict=True)
    )


def labels_of(loader: Loader) -> list[int]:
    return [label for batch in loader for label in batch["labels"].tolist()]


def training(source: ArraySource, indices: torch.Tensor | None = None, **options) -> Loader:
    options = {"batch_size": 16, "augment": Augment(crop_padding=2, cutout=2), **options}
    return make_loader(source, indices, train=True, **options)


def test_batches_hold_the_images_that_their_labels_name(numbered):
    loader = make_loader(numbered, None, batch_size=16, train=True)
    for batch in loader:
        assert set(batch) == {"inputs", "labels"}
        assert batch["inputs"].dtype == torch.uint8
        assert batch["labels"].dtype == torch.int64
        assert batch["inputs"].device == torch.device("cpu")
        assert torch.equal(batch["inputs"], numbered.images[batch["labels"]])


def test_lengths(numbered):
    loader = make_loader(numbered, torch.arange(50), batch_size=16, train=True, classes=("a", "b"))
    assert len(loader) == 3
    assert [len(batch["labels"]) for batch in loader] == [16, 16, 16]
    assert (loader.batch_size, loader.num_workers, len(loader.dataset)) == (16, 0, 50)
    assert loader.dataset.metainfo == {"classes": ("a", "b")}
    every = make_loader(numbered, torch.arange(50), batch_size=16, train=True, drop_last=False)
    assert [len(batch["labels"]) for batch in every] == [16, 16, 16, 2]
    assert len(every) == 4
    assert every.dataset.metainfo == {}
    few = make_loader(numbered, torch.arange(5), batch_size=16, train=True)
    assert [len(batch["labels"]) for batch in few] == [5]
    assert len(few) == 1


def test_evaluation_is_in_order_and_complete(numbered):
    indices = torch.tensor([9, 3, 77, 5, 4])
    loader = make_loader(numbered, indices, batch_size=2, train=False)
    assert labels_of(loader) == [9, 3, 77, 5, 4] == labels_of(loader)
    assert len(loader) == 3


def test_every_epoch_has_its_own_order_and_all_images(numbered):
    loader = training(numbered, drop_last=False)
    first, second = labels_of(loader), labels_of(loader)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != sorted(first)


def test_a_resumed_loader_gives_the_batches_of_an_uninterrupted_one(numbered):
    loader = training(numbered, seed=4)
    epochs = [list(loader) for _ in range(3)]
    assert not same(epochs[0], epochs[1])
    resumed = training(numbered, seed=4)
    resumed.set_epoch(1)
    assert same(list(resumed), epochs[1])
    assert same(list(resumed), epochs[2])  # the epoch goes on by itself
    resumed.sampler.set_epoch(0)
    assert same(list(resumed), epochs[0])
    assert not same(list(training(numbered, seed=5)), epochs[0])


def test_an_epoch_broken_off_counts_as_one(numbered):
    loader, whole = training(numbered), training(numbered)
    next(iter(loader))
    list(whole)
    assert same(list(loader), list(whole))


def test_augmentation_changes_from_epoch_to_epoch(numbered):
    loader = training(numbered, torch.tensor([5]), batch_size=1, augment=Augment(crop_padding=3))
    views = {tuple(batch["inputs"].flatten().tolist()) for _ in range(12) for batch in loader}
    assert len(views) > 8


@pytest.mark.parametrize("count", [100, 97, 50])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_a_training_epoch_evenly(numbered, count, world_size):
    loaders = [
        training(numbered, torch.arange(count), rank=rank, world_size=world_size, batch_size=8, drop_last=False)
        for rank in range(world_size)
    ]
    shares = [labels_of(loader) for loader in loaders]
    assert {len(share) for share in shares} == {count // world_size}
    assert len({len(loader) for loader in loaders}) == 1
    together = [label for share in shares for label in share]
    assert len(set(together)) == len(together)
    assert all(len(loader.dataset) == count for loader in loaders)


def test_an_image_is_augmented_alike_on_any_number_of_ranks(numbered):
    def views(world_size: int, batch_size: int) -> dict[int, list[int]]:
        loaders = [
            training(numbered, rank=rank, world_size=world_size, batch_size=batch_size, drop_last=False)
            for rank in range(world_size)
        ]
        batches = [batch for loader in loaders for batch in loader]
        return {
            label: image.flatten().tolist()
            for batch in batches
            for label, image in zip(batch["labels"].tolist(), batch["inputs"], strict=True)
        }

    assert views(1, 16) == views(2, 8) == views(4, 25)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_cover_an_evaluation_exactly(numbered, world_size):
    indices = torch.arange(5, 90, 2)
    shares = [
        labels_of(make_loader(numbered, indices, batch_size=4, train=False, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert shares == [indices[rank::world_size].tolist() for rank in range(world_size)]


def test_evaluation_with_more_ranks_than_images(numbered):
    loader = make_loader(numbered, torch.arange(2), batch_size=4, train=False, rank=2, world_size=3)
    assert (len(loader), list(loader)) == (0, [])


def test_global_random_states_are_left_alone(numbered):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = list(training(numbered))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same(first, list(training(numbered)))


def test_generators_differ_with_every_number_and_their_count():
    draws = {
        torch.rand(1, generator=generator_for(*numbers)).item() for numbers in [(0, 1), (1, 0), (0, 1, 0), (1,), (0,)]
    }
    assert len(draws) == 5


def test_the_source_is_not_copied_for_each_loader(numbered):
    assert numbered.on("cpu")[0].data_ptr() == numbered.images.data_ptr()
    batch = next(iter(make_loader(numbered, None, batch_size=4, train=False)))
    batch["inputs"].zero_()
    assert numbered.images[:4].any()  # a batch is a copy: what is done to it does not reach the data


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_batches(numbered):
    loader = training(numbered, device="cuda")
    batches = list(loader)
    assert batches[0]["inputs"].device.type == batches[0]["labels"].device.type == "cuda"
    assert same([{name: value.cpu() for name, value in batch.items()} for batch in batches], list(training(numbered)))
    assert numbered.on("cuda")[0].data_ptr() == numbered.on("cuda:0")[0].data_ptr()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of world_size 2"),
        ({"indices": torch.tensor([1, 100])}, "indices range from 1 to 100 but there are 100 images"),
        ({"indices": torch.tensor([0.5])}, "indices are torch.float32"),
        ({"indices": torch.arange(0)}, "indices are empty"),
        ({"indices": torch.arange(3), "world_size": 4}, "3 images cannot be divided among 4 processes"),
        ({"train": False, "augment": Augment()}, "augment was given with train=False"),
    ],
)
def test_wrong_options(numbered, options, sentence):
    options = {"indices": None, "batch_size": 4, "train": True, **options}
    with pytest.raises(EANError, match=sentence):
        make_loader(numbered, options.pop("indices"), **options)


def test_wrong_sources():
    with pytest.raises(EANError, match=r"images are torch.float32 of shape \(2, 1, 4, 4\)"):
        ArraySource(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(
        EANError, match=r"labels are torch.int64 of shape .3,.: give one torch.int64 number for each of"
    ):
        ArraySource(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def test_nothing_is_moved_to_the_device_from_step_to_step(numbered, monkeypatch):
    """A transfer from ordinary memory waits for the steps before it: the epoch's order goes there once."""
    moves = []
    original = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda one, *given, **how: moves.append(1) or original(one, *given, **how))
    counts = []
    for size in (50, 5):
        loader = training(numbered, batch_size=size)
        list(loader)  # the first time, the images themselves go there
        moves.clear()
        list(loader)
        counts.append(len(moves))
    assert counts[0] == counts[1]
