"""How well scores on the supernet rank schemes, compared with training them from scratch.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), section 4.3, with intervals.
"""

from __future__ import annotations

import argparse

from classification.arguments import add_pipeline_arguments, job_from_arguments
from ean_core.cli import at_least, make_parser, seed
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/correlation.py                                             the quickstart's digits, half an hour
  python tools/correlation.py classification/configs/ean_se_r20_cifar100_subset30k.py --schemes 12
  python tools/correlation.py CONFIG --schemes 24 --seeds 0 1 --workers 2 --resume      more schemes, seeds, processes

Draws schemes with evenly spread numbers of connections, scores each on the supernet with and without BN
calibration, trains each from scratch with the recipe's train section, and reports Pearson's r, Spearman's rho and
Kendall's tau with 95 % bootstrap intervals. Everything finished is kept and taken again; the same command started
once more with --resume, in another terminal or on another GPU, shares the trainings. Writes scores.json,
correlation.json and correlation.png into the work directory, after every training."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG] [options]")
    add = parser.add_argument
    add(
        "--schemes",
        type=at_least(1),
        metavar="N",
        help="schemes to draw (default 12; to report on: those that were scored)",
    )
    add("--draw-seed", type=seed, default=0, metavar="N", help="of the draw (default 0)")
    add("--seeds", type=seed, nargs="+", default=[0], metavar="N", help="of the trainings, one each (default 0)")
    add("--images", type=at_least(1), default=2000, metavar="N", help="for BN calibration (default 2000)")
    add(
        "--workers", type=at_least(1), default=1, metavar="N", help="processes that train, one network each (default 1)"
    )
    add("--report", action="store_true", help="only report existing results, without training")
    add_pipeline_arguments(parser)
    return parser.parse_args()


@command
def main() -> None:
    """Score and train the schemes, and report the correlations."""
    arguments = parse_arguments()
    from ean_core.pipeline.correlation.study import Study, count_scored, prepare
    from ean_core.pipeline.correlation.summary import report_study
    from ean_core.pipeline.correlation.training import start_workers, train_remaining

    arguments.resume |= arguments.report
    job = job_from_arguments(arguments, {"seeds": arguments.seeds})
    count = 12 if arguments.schemes is None else arguments.schemes
    if arguments.report:
        scored = count_scored(job.directory)
        count = scored if arguments.schemes is None else count
        if count > scored:
            raise EANError(
                f"only {scored} schemes are scored, so --report cannot show {count}: drop --schemes or --report"
            )
    study = Study(job, count=count, draw_seed=arguments.draw_seed, images=arguments.images)
    scores = prepare(study)
    if not arguments.report:
        with start_workers(arguments.workers - 1, directory=job.directory):
            for directory in train_remaining(study):
                print(f"trained {directory}", flush=True)
                report_study(study, scores, last=False)
    files = report_study(study, scores, last=True)
    print("files: " + "  ".join(map(str, files)))


if __name__ == "__main__":
    main()
