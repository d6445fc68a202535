"""What does each attention module cost? Ours and timm's in one network: parameters, multiply-adds, and time (Eq. 9).

Every network is Share-full (one module per stage, all blocks connected) and is compared with Org in the same mode,
eager and with folded batch norm, all networks taking turns (`ean_core/benchmark/timing.py`).
"""

from __future__ import annotations

import argparse

from ean_core.cli import at_least, file_of
from ean_core.utils.errors import command

HELP = """\
example:
  python benchmarks/attention_zoo.py --arch resnet164
  python benchmarks/attention_zoo.py --arch resnet20 --rounds 3 --attention se timm:eca     (seconds)

Without --attention: se, sge, dia and every attention of timm that keeps its input's shape (pip install timm). What
cannot run in the network or at the image size, or takes over 30 times as long as Org, is listed with the reason."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    add = parser.add_argument
    add("--arch", default="resnet164", help="resnet164 (default), resnet50, timm:resnet50, ..")
    add("--attention", nargs="+", metavar="NAME", help="only these; your own as FILE.py:CLASS")
    add("--batch-size", type=at_least(1), default=50, metavar="N", help="images per forward (default 50)")
    add(
        "--image-size", type=at_least(1), metavar="N", help="side in pixels (default 32 for CIFAR's networks, else 224)"
    )
    add("--rounds", type=at_least(1), default=10, metavar="N", help="measurements per network and mode (default 10)")
    add(
        "--modes",
        nargs="+",
        default=["eager", "folded"],
        metavar="NAME",
        help="modes of tools/benchmark.py (default eager folded)",
    )
    add("--device", help="cpu, cuda, cuda:1 (default cuda where there is one)")
    add("--threads", type=at_least(1), metavar="N", help="processor threads (default: torch's choice)")
    add(
        "--output",
        type=file_of(".json"),
        metavar="JSON",
        help="the record (default work_dirs/attention_zoo/ARCH.json)",
    )
    return parser.parse_args()


@command
def main() -> None:
    """Build a network with each attention, time them in turns, and write the record."""
    arguments = parse_arguments()
    import torch
    import zoo_table

    from ean_core.attention import load
    from ean_core.deploy.modes import check_mode
    from ean_core.io.records import write_record
    from ean_core.utils.allocator import keep_freed_memory
    from ean_core.utils.devices import choose_device
    from ean_core.utils.files import free_path

    for mode in arguments.modes:
        check_mode(mode)
    device = choose_device(arguments.device)
    keep_freed_memory()  # as tools/benchmark.py
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    names = [load(name) for name in arguments.attention or zoo_table.all_names()]
    batch, networks, skipped = zoo_table.build(
        arguments.arch, names, batch_size=arguments.batch_size, image_size=arguments.image_size, device=device
    )
    limit = None if arguments.attention else zoo_table.FAR_TOO_DEAR
    rows, not_run = zoo_table.measure(networks, batch, arguments.modes, rounds=arguments.rounds, limit=limit)
    settings = {
        **vars(arguments),
        "device": device,
        "image_size": batch.shape[2],
        "threads": torch.get_num_threads(),
        "skipped": {**skipped, **not_run},
        **zoo_table.versions(),
    }
    settings["settings"] = settings.pop("modes")  # the key of earlier records
    slug = arguments.arch.replace(":", "-").replace("/", "-")
    output = arguments.output or free_path(f"work_dirs/attention_zoo/{slug}.json")
    zoo_table.show(
        rows, title=f"{arguments.arch}, Share-full, batch of {len(batch)}, {batch.shape[2]} pixels, {device}"
    )
    for name, reason in settings["skipped"].items():
        print(f"without {name}: {reason}")
    print(f"record: {write_record(output, kind='attention-zoo', settings=settings, metrics=rows)}")


if __name__ == "__main__":
    main()
