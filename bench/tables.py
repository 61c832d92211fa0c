"""Results as Markdown. Every cell carries the ratio to Verge in the same run: ratios travel between
machines, absolute figures do not.
"""

import statistics

REFERENCE = "verge"


def size_name(size):
    for unit, shift in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def _figure(value):
    """Three digits that mean something."""
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def _cell(results, server, size, key, summary):
    values = [r[key] for r in results if (r["server"], r["size"]) == (server, size)]
    return summary(values) if values else None


def _row(results, server, sizes, key, summary):
    for size in sizes:
        value = _cell(results, server, size, key, summary)
        reference = _cell(results, REFERENCE, size, key, summary)
        if value is None:
            yield "-"
        elif reference is None or server == REFERENCE:
            yield _figure(value)
        else:
            yield f"{_figure(value)} ({value / reference:.2f}x)"


def _print_table(caption, results, versions, key, summary):
    sizes = sorted({result["size"] for result in results})
    print(f"\n{caption}\n")
    print("|  |", " | ".join(map(size_name, sizes)), "|")
    print("|---|" + "---:|" * len(sizes))
    for server, version in versions.items():
        if any(result["server"] == server for result in results):
            cells = " | ".join(_row(results, server, sizes, key, summary))
            print(f"| {f'{server} {version}'.strip()} | {cells} |")


def print_section(title, results, versions):
    if not results:
        return
    print(f"\n### {title}")
    cpu = "Server CPU per request, microseconds (ratio to Verge: above 1 costs more)"
    rate = "Requests per second (ratio to Verge: below 1 is slower)"
    _print_table(f"{cpu}, best repetition:", results, versions, "cpu_us", min)
    if len(results) > len({(result["server"], result["size"]) for result in results}):
        _print_table(f"{cpu}, median:", results, versions, "cpu_us", statistics.median)
    _print_table(f"{rate}, best repetition:", results, versions, "rate", max)


def print_footer(arguments, results, machine_description):
    command = " ".join(["bench/run", *arguments])
    print(f"\n`{command}` on {machine_description}. One worker on core 0, the load on core 1.")
    if results:
        worst = max(result["stranger"] for result in results)
        print(
            f"Others (strangers, ksoftirqd) took up to {worst:.0%} of the server's core in a run."
        )
