#!/usr/bin/env python3
"""Prints a trace for bench-cache: `timestamp_s,key,size_bytes`, the same for the same arguments.

Three days of a small site. Keys are drawn by Zipf's law; a few of them trade places every hour, so
that what is popular drifts. A part of the requests are for keys that are never asked for again.
Sizes are lognormal with a tail by Pareto's law: pages and pictures, and a few downloads.
"""

import argparse
import bisect
import itertools
import random

HOUR_S = 3600
SMALLEST, LARGEST = 200, 64 << 20  # bytes


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--keys", type=int, default=30_000, help="that are asked for again")
    parser.add_argument("--exponent", type=float, default=0.9, help="of Zipf's law")
    parser.add_argument("--once", type=float, default=0.06, help="part of requests for new keys")
    parser.add_argument("--drift", type=float, default=0.005, help="part of keys moved every hour")
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def draw_size(rng):
    if rng.random() < 0.03:
        size = 512 * 1024 * rng.paretovariate(1.2)
    else:
        size = rng.lognormvariate(9.6, 1.5)  # a median of 15 KB
    return int(min(max(size, SMALLEST), LARGEST))


def drift(rng, keys, count):
    for _ in range(count):
        a, b = rng.randrange(len(keys)), rng.randrange(len(keys))
        keys[a], keys[b] = keys[b], keys[a]


def main():
    args = parse_arguments()
    rng = random.Random(args.seed)
    keys = list(range(args.keys))
    sizes = [draw_size(rng) for _ in keys]
    weights = itertools.accumulate(1 / rank**args.exponent for rank in range(1, args.keys + 1))
    limits = list(weights)
    new_key = itertools.count(args.keys)
    per_hour = args.requests // args.hours
    for i in range(args.requests):
        if i % per_hour == 0:
            drift(rng, keys, int(args.drift * args.keys))
        at = i * args.hours * HOUR_S // args.requests
        if rng.random() < args.once:
            print(f"{at},{next(new_key)},{draw_size(rng)}")
        else:
            key = keys[bisect.bisect(limits, rng.random() * limits[-1])]
            print(f"{at},{key},{sizes[key]}")


main()
