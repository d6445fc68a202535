"""A GPU that torch does not see gets a sentence; everything of NVIDIA's is faked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ean_core.utils import devices
from ean_core.utils.devices import check_gpu, choose_device, has_bfloat16, nvidia_driver, unseen_gpu
from ean_core.utils.distributed import start_processes
from ean_core.utils.errors import EANError

PROC = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Oct 27 21:21:55 UTC 2021
GCC version:  gcc version 9.4.0 (Ubuntu 9.4.0-1ubuntu1~20.04.1)
"""


class Machine:
    """A machine whose parts are put there one by one: at first it has nothing of NVIDIA's."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.patch = directory, monkeypatch
        self.file = directory / "version"
        monkeypatch.setattr(devices, "DRIVER_FILE", self.file)
        monkeypatch.setattr(devices, "has_driver_library", lambda: False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setenv("PATH", str(directory))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("RANK", raising=False)
        devices.warn_of_unused_gpu.cache_clear()

    def driver(self, version: str) -> None:
        self.file.write_text(PROC.format(version))

    def nvidia_smi(self, says: str) -> None:
        command = self.directory / "nvidia-smi"
        command.write_text(f'#!/bin/sh\necho "{says}"\n')
        command.chmod(0o755)

    def torch(self, version: str, cuda: str | None) -> None:
        self.patch.setattr(torch, "__version__", version)
        self.patch.setattr(torch.version, "cuda", cuda)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_without_a_driver_there_is_nothing_to_say(machine: Machine) -> None:
    machine.torch("2.11.0+cu130", "13.0")
    assert nvidia_driver() is None
    assert unseen_gpu() is None


@pytest.mark.parametrize(
    ("driver", "cuda", "advice"),
    [
        ("470.82.01", "12.8", "update the driver to 525 or later, or install a build of torch for CUDA 11 "),
        ("550.54.14", "13.0", "update the driver to 580 or later, or install a build of torch for CUDA 12 "),
        ("390.157", "12.8", "update the driver to 525 or later"),
    ],
)
def test_an_old_driver_is_named_with_what_to_install(machine: Machine, driver: str, cuda: str, advice: str) -> None:
    machine.driver(driver)
    machine.torch("2.11.0", cuda)
    message = unseen_gpu()
    assert message is not None
    assert message.startswith(
        f"the NVIDIA driver ({driver}) is too old for torch 2.11.0, which was built for CUDA {cuda}: "
    )
    assert advice in message
    assert ("install a build of torch" in message) == (driver != "390.157")


def test_a_build_without_cuda(machine: Machine) -> None:
    machine.driver("580.65.06")
    machine.torch("2.11.0+cpu", None)
    assert "(580.65.06), but torch 2.11.0+cpu was built without CUDA: install one" in str(unseen_gpu())


def test_a_driver_that_is_new_enough(machine: Machine) -> None:
    machine.driver("580.65.06")
    machine.torch("2.11.0", "13.0")
    assert "sees no device, although the NVIDIA driver (580.65.06) is recent enough" in str(unseen_gpu())


def test_where_the_version_comes_from(machine: Machine) -> None:
    machine.patch.setattr(devices, "has_driver_library", lambda: True)
    assert nvidia_driver() == "version unknown"
    machine.torch("2.11.0", "13.0")
    assert "sees no device" in str(unseen_gpu())
    machine.nvidia_smi("NVIDIA-SMI has failed because it could not communicate with the driver")
    assert nvidia_driver() == "version unknown"
    machine.nvidia_smi("535.104.05")
    assert nvidia_driver() == "535.104.05"
    machine.driver("470.82.01")
    assert nvidia_driver() == "470.82.01"
    machine.file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (user@host)\n"
    )
    assert nvidia_driver() == "565.57.01"


def test_a_gpu_that_the_user_hides_is_not_missed(machine: Machine) -> None:
    machine.driver("470.82.01")
    machine.torch("2.11.0", "13.0")
    for hidden in ("", "-1"):
        machine.patch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert unseen_gpu() is None
    machine.patch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert unseen_gpu() is not None


@pytest.mark.parametrize("begin", [lambda: choose_device(None), start_processes])
def test_commands_say_it_once(machine: Machine, begin, capsys: pytest.CaptureFixture) -> None:
    machine.driver("470.82.01")
    machine.torch("2.11.0", "13.0")
    begin()
    begin()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: running on the CPU: the NVIDIA driver (470.82.01) is too old for torch")


def test_a_device_that_was_asked_for_is_refused_with_the_reason(machine: Machine) -> None:
    machine.driver("470.82.01")
    machine.torch("2.11.0", "13.0")
    with pytest.raises(EANError, match=r"--device cuda cannot be used: .*the NVIDIA driver \(470.82.01\) is too old"):
        choose_device("cuda")


CU130 = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize("card", [(7, 5), (8, 0), (8, 9), (9, 0), (10, 3), (12, 1), (13, 0)])
def test_cards_that_torch_has_code_for(card: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: card)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CU130)
    check_gpu()


def test_an_old_card_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA GeForce GTX 1080")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CU130)
    wanted = r"does not support NVIDIA GeForce GTX 1080, .*capability 6\.1 \(it supports 7\.5, 8\.0, .*12\.0\): install"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for begin in (check_gpu, start_processes):
        with pytest.raises(EANError, match=wanted):
            begin()
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: [*CU130, "compute_50"])
    check_gpu()


def test_imitated_bfloat16_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on cards before Ampere, where torch says that it is supported."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bfloat16("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert has_bfloat16("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # before PyTorch 2.5
    assert has_bfloat16("cuda")
    assert not has_bfloat16("mps")
    assert has_bfloat16("cpu") in (True, False)
