#!/usr/bin/env bash
# All figures of this project that need a GPU, most wanted first, as far as LIMIT seconds go (default 560). In its root:
#
#     LIMIT=190 bash benchmarks/on_gpu.sh smoke    # does the CUDA code work at all
#     LIMIT=560 bash benchmarks/on_gpu.sh          # all the rest, from where an earlier call left off
#     bash benchmarks/on_gpu.sh networks training  # these steps only, of: smoke search retraining networks training seeds more
#
# Whatever is done is remembered in work_dirs/gpu and not done again; a step begins only if it can end in time, and one
# that fails costs no other. After every step OUT (default work_dirs/gpu_out) holds records.tgz (records, pictures, logs)
# and weights.tar.NN (networks, and the state of what was cut off), in pieces of 15 MB: a call that is ended loses no more
# than its last step. On another machine, give that folder as IN to go on from there; or SCHEME, a scheme.json, and SEEDS
# (default "0 1 2") to train its networks with other seeds, for which no weights have to travel.
#
# PY: the Python (default python3); DATA: the folder that holds cifar-100-python (default data); EPOCHS: of the supernet
# and of each network (default 12); NOTE: a sentence for the records; COMMIT: for the records, where there is no .git.
# QUICK=1 rehearses everything with small networks, also on a CPU.
set -uo pipefail
limit=${LIMIT:-560} PY=${PY:-python3} DATA=${DATA:-data} SCHEME=${SCHEME:-} quick=${QUICK:+--quick}
epochs=${EPOCHS:-${QUICK:+2}} proposals=${QUICK:+5}
epochs=${epochs:-12} proposals=${proposals:-300}
note=${NOTE:-"Supernet and networks were trained for $epochs epochs each, with a schedule of our own."}
G=work_dirs/gpu logs=$G/logs R=$G/records out=${OUT:-work_dirs/gpu_out} run=$G/ean_se_r164_cifar100
config=classification/configs/ean_se_r164_cifar100.py seeds=(${SEEDS:-0 1 2})
steps=${*:-search retraining networks training seeds more}
for name in $steps; do
  case $name in smoke | search | retraining | networks | training | seeds | more) ;; *)
    echo "no step '$name': give some of smoke search retraining networks training seeds more" >&2
    exit 2 ;;
  esac
done
if ! nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader && [ -z "$quick" ]; then
  echo "no GPU here; QUICK=1 rehearses without one" >&2
  exit 2
fi
mkdir -p "$logs" "$R" "$G/done" "$out"
if [ -n "${IN:-}" ] && [ -z "$(ls "$G/done")" ]; then
  tar xzf "$IN/records.tgz" -C "$G"
  [ ! -e "$IN/weights.tar.00" ] || cat "$IN"/weights.tar.* | tar x -C "$G"
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 EAN_COMMIT=${COMMIT:-}

left() { echo $((limit - SECONDS)); }

weights() {  # what is worth taking home, most wanted first: the states of runs that were cut off, and the networks
  local state seed
  cd "$G" || return
  for state in */*/last.pth; do
    [ ! -e "$state" ] || [ -e "${state%/*}.pth" ] || [ -e "${state%/*}/classifier.pth" ] || echo "$state"
  done
  ls */supernet.pth 2> /dev/null
  for seed in "${seeds[@]}"; do ls */*-seed$seed/classifier.pth 2> /dev/null; done
}

pack() {  # what is small after every step; weights only when there are new ones, as many as 60 MB hold
  local file size total=0 chosen="" state=""
  tar czf "$out/.records.tgz" -C "$G" --exclude='*.pth' --exclude='./.*' .
  mv "$out/.records.tgz" "$out/records.tgz"
  for file in $(weights); do
    size=$(stat -c %s "$G/$file") total=$((total + size))
    if [ $total -gt 60000000 ]; then echo "weights left here: $file and what follows it"; break; fi
    chosen="$chosen $file" state="$state $(stat -c '%n %s %Y' "$G/$file")"
  done
  [ -n "$chosen" ] || return
  if [ ! -e "$out/weights.tar.00" ] || [ "$state" != "$(cat "$G/.packed" 2> /dev/null)" ]; then
    rm -f "$out"/weights.tar.*
    tar c -C "$G" $chosen | split -b 15000000 -d - "$out/weights.tar."
    echo "$state" > "$G/.packed"
  fi
}

step() {  # step NEED MOST NAME COMMAND..: begun if NEED seconds are left, ended after MOST of them
  local need=$1 most=$2 name=$3 from=$SECONDS status
  shift 3
  [ ! -e "$G/done/$name" ] || return 0
  if [ "$(left)" -lt "$need" ]; then
    echo "=== $name: left out, $(left) s are left"
    return 1
  fi
  # The rest is for packing. A rehearsal may take all the time there is: a CPU needs more of it.
  if [ -n "$quick" ] || [ "$most" -gt $(($(left) - 12)) ]; then most=$(($(left) - 12)); fi
  timeout -k 5 "$most" "$@" > "$logs/$name.log" 2>&1
  status=$?
  [ $status != 0 ] || touch "$G/done/$name"
  echo "=== $name: status $status, $((SECONDS - from)) s, $(left) s left"
  tail -n "${LINES_OF:-14}" "$logs/$name.log" | cut -c1-170
  pack
  return $status
}

# -- the paper's CIFAR-100 run on a short schedule --------------------------------------------------------------------

train() {  # train NEED MOST NAME TOOL ARGUMENTS.. -- OPTIONS..: it goes on from its last saved state
  local need=$1 most=$2 name=$3 tool=$4 arguments="" section
  shift 4
  if [ ! -d "$DATA/cifar-100-python" ]; then
    echo "=== $name: left out, no cifar-100-python in $DATA"
    return 1
  fi
  while [ "$1" != -- ]; do arguments="$arguments $1"; shift; done
  shift
  set -- "$@" search.steps="$proposals" note="$note"
  for section in supernet train; do
    set -- "$@" $section.epochs="$epochs" $section.schedule=cosine $section.milestones=[] $section.nesterov=True \
      $section.warmup_epochs=1 $section.weight_decay=5e-4 $section.val_interval=0 $section.save_interval=2
  done
  [ -z "$quick" ] || set -- "$@" data.train_per_class=4 data.val_per_class=1 model.arch=resnet20
  step "$need" "$most" "$name" "$PY" "$tool" $config --fast --work-dir $run --data-root "$DATA" --resume $arguments \
    --cfg-options "$@"
}

retrain() {  # retrain NEED MOST NAME SEED..: Org, Share-full and the scheme with these seeds; finished ones are kept
  local need=$1 most=$2 name=$3
  shift 3
  if [ -n "$SCHEME" ]; then
    train "$need" "$most" "$name" tools/train_cls.py --scheme org share-full "$SCHEME" --seeds "$@" --
  elif [ -e $run/scheme.json ]; then
    train "$need" "$most" "$name" tools/search.py -- "seeds=[$(IFS=,; echo "$*")]"
  else
    echo "=== $name: left out, no scheme was found yet"
  fi
}

for what in $steps; do
  case $what in
  smoke)  # kernels, graphs and modes against what they are to compute, and the pipeline in graphs; no timing
    LINES_OF=3 step 20 100 imports "$PY" -c "import time; s = time.time(); import torch, triton, torchvision, mmengine, cv2, \
matplotlib; print(torch.__version__, triton.__version__, torch.cuda.is_available(), round(time.time() - s), 's')"
    beside=$("$PY" -c 'import xdist; print("-n 8 --dist worksteal")' 2> /dev/null)
    beside="$beside $("$PY" -c 'import pytest_timeout; print("--timeout 85")' 2> /dev/null)"
    LINES_OF=90 step 60 130 smoke "$PY" -m pytest -q -m "gpu and not slow and not timing" -p no:cacheprovider --tb=short \
      -rfE $beside --durations=8 --junitxml="$logs/smoke.xml" tests/tools/test_gpu_commands.py::test_the_pipeline_in_cuda_graphs \
      tests/tools/test_gpu_commands.py::test_modes_are_timed tests/deploy tests/training tests/networks tests/supernet tests/data
    ;;
  search)
    [ -n "$SCHEME" ] || LINES_OF=24 train 120 250 search tools/search.py --no-retrain --
    ;;
  retraining)
    LINES_OF=24 retrain 90 400 "retraining_seed${seeds[0]}" "${seeds[0]}"
    ;;
  networks)  # Eq. 9, the authors' way against the fastest modes
    for network in "resnet164 50" "resnet50 50" "resnet164 1"; do
      set -- $network
      LINES_OF=24 step 60 100 "network_$1_b$2" "$PY" benchmarks/network.py --arch "$1" --batch-size "$2" --rounds 10 \
        --modes cuda_graph fused fused_bf16 --output "$R/speed_network_$1_b$2_gpu.json" $quick
    done
    ;;
  training)
    speed=("$PY" benchmarks/training.py --arch resnet164 --network supernet --steps 30 --rounds 3 --workers 8
      --output "$R/speed_training_resnet164_supernet_gpu.json" $quick --sides engine fast)
    step 45 80 training "${speed[@]}" fast-graph || step 45 80 training_without_graph "${speed[@]}"
    ;;
  seeds)
    for ((count = 2; count <= ${#seeds[@]}; count++)); do
      LINES_OF=24 retrain 60 400 "retraining_seed${seeds[count - 1]}" "${seeds[@]:0:count}" || break
    done
    ;;
  more)  # Table 1's times; what ImageNet would cost on such a GPU (docs/scaling.md)
    LINES_OF=30 step 60 100 table1 "$PY" tools/benchmark.py --arch resnet50 --attention se --rounds 15 \
      --scheme paper_ean_se_resnet50 --modes eager cuda_graph fused fused_bf16 \
      --output $R/benchmark_resnet50_gpu.json ${QUICK:+--batch-size 1 --image-size 64 --rounds 2}
    for batch in 128 32; do
      step 60 100 training_resnet50_b$batch "$PY" benchmarks/training.py --arch resnet50 --image-size 224 --steps 10 \
        --batch-size $batch --rounds 3 --workers 12 --output $R/speed_training_resnet50_b${batch}_gpu.json $quick \
        --sides fast fast-graph
    done
    step 40 60 scoring_resnet50 "$PY" benchmarks/processes.py --processes 1 --arch resnet50 --image-size 224 --images 2000 \
      --batch-size 128 --rounds 5 --output $R/speed_processes_resnet50_gpu.json $quick
    ;;
  esac
done
pack
ls -l "$out"
