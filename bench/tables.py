"""Results as Markdown. Every cell carries the ratio to Verge in the same run: ratios travel between
machines, absolute figures do not.
"""

import statistics

REFERENCE = "verge"

# Of a result: its key, which value of many counts, its unit, and what the table is called.
CPU = "Server CPU per {}, microseconds (ratio to Verge: above 1 costs more), {} repetition"
PER_REQUEST = (
    ("cpu_us", min, "us", CPU.format("request", "best")),
    ("cpu_us", statistics.median, "us", CPU.format("request", "median")),
    ("rate", max, "/s", "Requests per second (ratio to Verge: below 1 is slower), best repetition"),
)
PER_HANDSHAKE = (
    ("cpu_us", min, "us", CPU.format("connection", "best")),
    ("per_cpu_s", max, "/s", "Connections per second of server CPU, best repetition"),
)
PER_CONNECTION = (
    ("bytes", min, "bytes", "The server's own memory for each, bytes (ratio to Verge)"),
)


def column_name(column):
    """Of a size, and of what is a name already."""
    if isinstance(column, str):
        return column
    for unit, shift in (("MiB", 20), ("KiB", 10)):
        if column >= 1 << shift and column % (1 << shift) == 0:
            return f"{column >> shift} {unit}"
    return f"{column} B"


def _figure(value):
    """Three digits that mean something."""
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def _cell(results, server, column, key, summary):
    values = [r[key] for r in results if (r["server"], r["column"]) == (server, column)]
    return summary(values) if values else None


def _row(results, server, columns, key, summary):
    for column in columns:
        value = _cell(results, server, column, key, summary)
        reference = _cell(results, REFERENCE, column, key, summary)
        if value is None:
            yield "-"
        elif not reference or server == REFERENCE:
            yield _figure(value)
        else:
            yield f"{_figure(value)} ({value / reference:.2f}x)"


def _print_table(caption, results, columns, versions, key, summary):
    print(f"\n{caption}:\n")
    print("|  |", " | ".join(map(column_name, columns)), "|")
    print("|---|" + "---:|" * len(columns))
    for server, version in versions.items():
        if any(result["server"] == server for result in results):
            cells = " | ".join(_row(results, server, columns, key, summary))
            print(f"| {f'{server} {version}'.strip()} | {cells} |")


def print_section(measurement, results, versions):
    if not results:
        return
    columns = [c for c in measurement.columns if any(r["column"] == c for r in results)]
    once = len(results) == len({(result["server"], result["column"]) for result in results})
    print(f"\n### {measurement.title}")
    for key, summary, _, caption in measurement.figures:
        if not (once and summary is statistics.median):
            _print_table(caption, results, columns, versions, key, summary)


def print_footer(arguments, results, machine_description):
    command = " ".join(["bench/run", *arguments])
    print(f"\n`{command}` on {machine_description}. One worker on core 0, the load on core 1.")
    worst = max((result["stranger"] for result in results if "stranger" in result), default=0)
    if worst:
        print(
            f"Others (strangers, ksoftirqd) took up to {worst:.0%} of the server's core in a run."
        )
