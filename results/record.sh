#!/bin/sh
# Every recorded run of results/ledger.csv, two at a time. Stop it at any moment and
# start it again: finished runs are skipped, unfinished ones continue.
#   sh results/record.sh [experiment ...]     all of them by default:
all="sweep headline controls push tries grpo vl-sweep vl-headline vl-push vl-controls"
all="$all virl-l-headline virl-l-push virl-l-controls virl-vl-headline virl-vl-push virl-vl-controls"
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

runs() {
    case $1 in
    sweep) # learning rates are judged on the training hands alone: one seed that is not
        # reported, the development rule instead of the shifted one
        for lr in 1e-4 3e-4 1e-3; do
            for method in rl-ppo sft; do
                echo "${method%%-*} --method $method --lr $lr --seed 100 --splits id,dev-rule --points 1 --final-episodes 1000"
            done
        done ;;
    push) # SFT at the other rate that solves all training hands
        for seed in 0 1 2; do
            echo "sft --method sft --lr 1e-3 --seed $seed --points 2 --final-episodes 1000"
        done ;;
    headline)
        for seed in 0 1 2; do
            for method in rl-ppo sft; do
                echo "${method%%-*} --method $method --seed $seed --final-episodes 1000"
            done
        done ;;
    controls)
        for seed in 0 1 2; do
            echo "sft --method sft-varied --seed $seed --points 2 --final-episodes 1000"
            echo "rl --method rl-random --seed $seed --points 2 --final-episodes 1000"
            echo "sft --method sft-own --seed $seed --points 2 --final-episodes 1000"
        done ;;
    grpo)
        for seed in 0 1 2; do
            echo "rl --method rl-grpo --seed $seed --points 2 --final-episodes 1000"
        done ;;
    tries)
        for seed in 0 1 2; do
            for tries in 1 3 5 10; do
                echo "rl --method rl-ppo --tries $tries --eval-tries 1,3,5,10 --splits ood-rule --seed $seed --points 1 --final-episodes 1000"
            done
        done ;;
    # the same with cards in pictures
    vl-sweep)
        for lr in 1e-4 3e-4 1e-3; do
            for method in rl-ppo sft; do
                echo "${method%%-*} --task gp-vl --method $method --lr $lr --seed 100 --splits id,dev-rule,dev-visual --points 1 --final-episodes 500"
            done
        done ;;
    vl-headline)
        for seed in 0 1 2; do
            for method in rl-ppo sft; do
                echo "${method%%-*} --task gp-vl --method $method --seed $seed --points 3 --eval-episodes 200 --final-episodes 500"
            done
        done ;;
    vl-push)
        for seed in 0 1 2; do
            echo "sft --task gp-vl --method sft --lr 1e-3 --seed $seed --points 3 --eval-episodes 200 --final-episodes 500"
        done ;;
    vl-controls)
        for seed in 0 1 2; do
            echo "sft --task gp-vl --method sft-varied --seed $seed --points 1 --final-episodes 500"
            echo "rl --task gp-vl --method rl-random --seed $seed --points 1 --final-episodes 500"
            echo "sft --task gp-vl --method sft-own --seed $seed --points 1 --final-episodes 500"
        done ;;
    # streets, in text and in pictures
    virl-l-headline | virl-vl-headline)
        for seed in 0 1 2; do
            for method in rl-ppo sft; do
                echo "${method%%-*} --task ${1%-headline} --method $method --seed $seed --points 3 --eval-episodes 200 --final-episodes 500"
            done
        done ;;
    virl-l-push | virl-vl-push)
        for seed in 0 1 2; do
            echo "sft --task ${1%-push} --method sft --lr 1e-3 --seed $seed --points 3 --eval-episodes 200 --final-episodes 500"
        done ;;
    virl-l-controls | virl-vl-controls)
        for seed in 0 1 2; do
            echo "sft --task ${1%-controls} --method sft-varied --seed $seed --points 1 --final-episodes 500"
            echo "rl --task ${1%-controls} --method rl-random --seed $seed --points 1 --final-episodes 500"
        done ;;
    *) echo "unknown experiment $1" >&2; exit 2 ;;
    esac
}

for experiment in ${@:-$all}; do
    runs "$experiment" | sed "s/\$/ --experiment $experiment --record/"
done | xargs -P 2 -L 1 "${PYTHON:-.venv/bin/python}" -m sftrl_lite
