"""What all kinds of measurement share: servers visited in turn, and CPU time around a load."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import machine
import tables
from running import Failure, Running


@dataclass(frozen=True)
class Measurement:
    """One table: its columns, and how one figure of it is taken.

    `visit(options, running, origin, column)` returns a dictionary; what `measured` adds is for all.
    """

    name: str  # for --only
    title: str
    columns: tuple  # sizes in bytes, or names
    visit: Callable
    figures: tuple = tables.PER_REQUEST
    serves: Callable = None  # (server, column): whether it can; by default, if it lists the name
    alone: bool = False  # each column in a process of its own
    steady: bool = False  # noise does not touch it, so once is enough
    memory: str = "2G"  # of each server
    disk: str | None = None  # its cache is there, so large

    def can(self, server, column):
        return self.serves(server, column) if self.serves else self.name in server.tables


def measured(running, load):
    """Runs `load`, which says how many requests in how many seconds, and adds what they cost."""
    stranger, cpu = machine.busy_seconds(machine.SERVER_CORE), running.cpu_seconds()
    result = load()
    cpu = running.cpu_seconds() - cpu
    stranger = machine.busy_seconds(machine.SERVER_CORE) - stranger - cpu
    return {
        "cpu_us": cpu / result["requests"] * 1e6,
        "rate": result["requests"] / result["seconds"],
        "per_cpu_s": result["requests"] / cpu,
        "busy": cpu / result["seconds"],
        "stranger": max(0, stranger / result["seconds"]),
        **result,
    }


def run(options, measurement, servers, origin):
    """Every repetition visits every server, so that noise hits all alike."""
    results = []
    for repetition in range(1 if measurement.steady else options.reps):
        for server in servers:
            columns = [c for c in measurement.columns if measurement.can(server, c)]
            for those in [[c] for c in columns] if measurement.alone else [columns]:
                try:
                    for result in _visit(options, measurement, server, those, origin):
                        results.append(result)
                        _progress(repetition, measurement, result)
                except Failure as failure:
                    print(f"bench: {failure}", file=sys.stderr)
    return results


def _visit(options, measurement, server, columns, origin):
    if not columns:
        return
    with Running(server, measurement.memory, measurement.disk) as running:
        for column in columns:
            result = measurement.visit(options, running, origin, column)
            yield {"server": server.name, "column": column, **result}


def _progress(repetition, measurement, result):
    key, _, unit, _ = measurement.figures[0]
    line = (
        f"{repetition + 1}: {measurement.name:10} {result['server']:14}"
        f" {tables.column_name(result['column']):>8} {result[key]:12,.2f} {unit}"
    )
    if "rate" in result:
        line += f" {result['rate']:10,.0f}/s   server {result['busy']:.0%}"
        line += f", others on its core {result['stranger']:.0%}"
    print(line, file=sys.stderr)
