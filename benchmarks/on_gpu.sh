#!/usr/bin/env bash
# All figures of this project that need a GPU, most wanted first, in parts of under ten minutes each on an H100:
#
#     bash benchmarks/on_gpu.sh 1     # tests; ResNet-164 at batch 50 in every form
#     bash benchmarks/on_gpu.sh 2     # ResNet-164 at batch 1, ResNet-50, compiled forms
#     bash benchmarks/on_gpu.sh 3     # training; the supernet of ResNet-164 on CIFAR-100 and its search
#     bash benchmarks/on_gpu.sh 4     # scoring; retraining of what part 3 found
#     bash benchmarks/on_gpu.sh 5     # Table 1's times of ResNet-50, its compiled forms, its training at 224 pixels
#
# Run it in the project's root with the package installed; PY names the Python (default python3), DATA the folder that
# holds CIFAR-100 (default data), OUT a folder for results.tgz: records, pictures and logs of all parts so far. QUICK=1
# rehearses a part with small networks, also on a CPU. A command that fails or hangs costs no other: each has a limit.
# The minutes are reckoned from numbers of kernels and bytes; nothing here has run on a GPU yet.
set -uo pipefail
part=${1:-}
case $part in [1-5]) ;; *) echo "which part, 1 to 5?" >&2; exit 2 ;; esac
out=${OUT:-work_dirs/gpu_out}
logs=work_dirs/gpu_logs
mkdir -p "$out" "$logs"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
PY=${PY:-python3}
DATA=${DATA:-data}
R=work_dirs/gpu_records
quick=${QUICK:+--quick}
beside=$($PY -c 'import xdist' 2> /dev/null && printf -- '-n 4')  # pytest-xdist, if it is there
started=$SECONDS

step() {  # step LIMIT NAME COMMAND..: its output in a log, its end on the screen; a failure stops nothing
  local limit=$1 name=$2 from=$SECONDS status
  shift 2
  timeout -k 10 "$limit" "$@" > "$logs/$name.log" 2>&1
  status=$?
  echo "=== $name: status $status, $((SECONDS - from)) s (since the start $((SECONDS - started)) s)"
  tail -n "${LINES_OF:-14}" "$logs/$name.log" | cut -c1-170
  return $status
}

pack() {
  tar czf "$out/results.tgz" --ignore-failed-read --exclude='last.pth' --exclude='gpu_out' work_dirs 2> /dev/null
  ls -l "$out/results.tgz"
}
trap pack EXIT

network() {  # network LIMIT ARCH BATCH NAME SETTINGS..
  local limit=$1 arch=$2 batch=$3 name=$4
  shift 4
  step "$limit" "network_$name" $PY benchmarks/network.py --arch "$arch" --batch-size "$batch" --settings "$@" \
    --output "$R/speed_network_${name}_gpu.json" $quick
}

# Convolutions dominate; these settings need no compiler but Triton's for seven kernels.
GRAPHS="folded bf16 cuda_graph fused fused_bf16"

case $part in
1)
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv,noheader
  $PY -c "import torch, triton, mmengine; print(torch.__version__, triton.__version__, torch.cuda.is_available())"
  # First what the rest stands on: kernels, graphs, forms. Then the commands, four beside each other.
  LINES_OF=40 step 150 pytest_basis $PY -m pytest -q -m "gpu and not slow" --continue-on-collection-errors \
    -p no:cacheprovider --durations=5 tests/deploy/kernels tests/training/test_cuda_graph.py tests/deploy/test_modes.py \
    tests/networks/test_networks.py tests/benchmark/test_timing.py tests/data
  LINES_OF=40 step 200 pytest_commands $PY -m pytest -q -m "gpu and not slow" --continue-on-collection-errors \
    -p no:cacheprovider $beside tests/tools/test_gpu_commands.py tests/inference/test_predictor.py tests/benchmark/test_latency_table.py \
    tests/crowd_counting/test_density.py tests/segmentation/test_training.py
  LINES_OF=40 network 150 resnet164 50 resnet164_b50 $GRAPHS
  ;;
2)
  LINES_OF=40 network 100 resnet164 1 resnet164_b1 $GRAPHS
  LINES_OF=40 network 170 resnet50 50 resnet50_b50 $GRAPHS
  LINES_OF=40 network 100 resnet50 1 resnet50_b1 $GRAPHS
  # About 27 different blocks to compile, in each of two types; the others come out of the compiler's cache.
  LINES_OF=24 network 180 resnet164 50 resnet164_b50_compiled cuda_graph compiled compiled_bf16
  ;;
3)
  # 50 steps a turn: an epoch of the engine ends with a line of its log, which a turn of a few steps would be full of.
  sides="plain bare engine fast fast-graph"
  for network in supernet final; do
    step 140 "training_$network" $PY benchmarks/training.py --arch resnet164 --network $network --steps 50 --rounds 5 \
      --workers 8 --sides $sides --output $R/speed_training_resnet164_${network}_gpu.json $quick \
      || step 90 "training_${network}_without_graph" $PY benchmarks/training.py --arch resnet164 --network $network \
        --steps 50 --rounds 3 --workers 8 --sides plain engine fast $quick \
        --output $R/speed_training_resnet164_${network}_gpu.json
  done
  ;;&
3 | 4)
  # A short schedule of the paper's run: ResNet-164, all of CIFAR-100.
  config=classification/configs/ean_se_r164_cifar100.py
  fields="cuda_graph=True precision=bfloat16 channels_last=True schedule=cosine milestones=[] nesterov=True warmup_epochs=1 weight_decay=5e-4"
  options="supernet.epochs=16 supernet.val_interval=0 supernet.save_interval=4 train.epochs=16 train.save_interval=4 search.steps=300 search.batch_size=2000"
  if [ -n "${QUICK:-}" ]; then
    config=classification/configs/ean_se_r20_cifar100_subset30k.py
    options="supernet.epochs=2 train.epochs=2 search.steps=5 data.train_per_class=4 data.val_per_class=1"
  fi
  for field in $fields; do options="$options supernet.$field train.$field"; done
  run=work_dirs/gpu_ean_se_r164_cifar100
  pipeline() { step "$1" "$2" $PY tools/search.py $config --work-dir $run --data-root "$DATA" "${@:3}" --cfg-options $options; }
  ;;&
3)
  pipeline 250 supernet_and_search --no-retrain --resume
  ;;
4)
  [ -f $run/supernet.pth ] || pipeline 250 supernet_and_search --no-retrain --resume
  step 130 scoring $PY benchmarks/scoring.py --config $config --supernet $run/supernet.pth --history $run/history.jsonl \
    --data-root "$DATA" --proposals 30 --images 5000 --batch 2500 --plain-batch 500 --workers 8 \
    --output $R/speed_scoring_resnet164_gpu.json $quick
  LINES_OF=30 pipeline 400 retraining --resume
  ;;
5)
  # As far as the time goes: the slow tests, the paper's Table 1 for SE, ResNet-50 compiled, what ImageNet would cost.
  LINES_OF=20 step 120 pytest_slow $PY -m pytest -q -m "gpu and slow" -p no:cacheprovider tests/deploy/test_modes.py -k compiled
  step 100 table1 $PY tools/benchmark.py --arch resnet50 --attention se --scheme schemes/paper_ean_se_resnet50.json \
    --settings eager cuda_graph fused fused_bf16 --rounds 20 --output $R/benchmark_resnet50_gpu.json \
    ${QUICK:+--batch-size 1 --image-size 64 --rounds 2}
  LINES_OF=24 network 130 resnet50 50 resnet50_b50_compiled cuda_graph compiled compiled_bf16
  step 100 training_resnet50 $PY benchmarks/training.py --arch resnet50 --image-size 224 --batch-size 128 --steps 10 \
    --rounds 3 --workers 12 --sides plain fast fast-graph --output $R/speed_training_resnet50_b128_gpu.json $quick
  # With these, benchmarks/scaling.py gives the hours of ImageNet on one such GPU (docs/scaling.md).
  step 60 training_resnet50_b32 $PY benchmarks/training.py --arch resnet50 --image-size 224 --batch-size 32 --steps 20 \
    --rounds 3 --workers 12 --sides fast fast-graph --output $R/speed_training_resnet50_b32_gpu.json $quick
  step 60 scoring_resnet50 $PY benchmarks/processes.py --processes 1 --arch resnet50 --image-size 224 --images 2000 \
    --batch-size 128 --rounds 5 --output $R/speed_processes_resnet50_gpu.json $quick
  ;;
esac
