#!/usr/bin/env python3
"""Measures `compare` and `report` on caches of many artifacts, and prints a table in Markdown.

    cargo build --release --bin pipeline --example toys
    python3 benches/compare.py [--only rows many report]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import measure
from measure import mebibytes, median, spread

ROOT = Path(__file__).resolve().parent.parent
SETTLING = 3.2
# Metrics and tables as real stages write them, made in no time: see tests/toys/exhibit.rs.
ABLATION = """\
name: ablation
params: {{skill: 0.5}}
matrix: {{seed: [{seeds}]}}
stages:
  fit: {{kind: exhibit, with: {{seed: '{{seed}}', skill: '{{skill}}'}}}}
  judge: {{kind: judge, from: fit, with: {{}}}}
variants:
{variants}
compare: {{over: [seed], metrics: [auroc, loss], lower_is_better: [loss]}}
"""


def ablation(folder, variants, seeds):
    rows = "\n".join(f"  v{i}: {{params: {{skill: {0.5 + i / (4 * variants):.6f}}}}}" for i in range(variants))
    text = ABLATION.format(seeds=", ".join(map(str, range(seeds))), variants=rows)
    (folder / "p.yaml").write_text(text)


def prepared(bench, variants, seeds):
    """A folder with a pipeline that has run."""
    folder = Path(tempfile.mkdtemp(dir=bench.work))
    ablation(folder, variants, seeds)
    print(f"  running {2 * variants * seeds} steps once", file=sys.stderr, flush=True)
    measure.run([bench.program, "run", "p.yaml", "--quiet"], folder, limit=1800)
    return folder


def settle(bench, folder):
    """A run that finds all in place remembers what it has verified, once the files have lain still for a while."""
    time.sleep(SETTLING)
    measure.run([bench.program, "run", "p.yaml", "--quiet"], folder, limit=600)


def timed(bench, folder, arguments, rounds):
    rans = [measure.run([bench.program, *arguments], folder) for _ in range(rounds)]
    return [ran.seconds for ran in rans], max(ran.peak_bytes for ran in rans), rans[-1]


def row(figure, asked, seconds, limit, more=""):
    held = median(seconds) <= limit
    print(f"| {figure} | {asked} | {spread(seconds)}{more} | {'yes' if held else '**no**'} |", flush=True)
    return held


def fifty_rows(bench):
    """A table of 50 rows over 5 seeds."""
    folder = prepared(bench, 50, 5)
    first, _, _ = timed(bench, folder, ["compare", "p.yaml"], 1)
    settle(bench, folder)
    seconds, peak, ran = timed(bench, folder, ["compare", "p.yaml"], 15)
    assert ran.stdout.count("\n  v") + ran.stdout.count("\nv") >= 49, ran.stdout
    held = row("`compare`, 50 rows × 5 seeds", "≤ 50 ms", seconds, 0.050, f"; {mebibytes(peak)}; verifying all first {spread(first)}")
    seconds, _, _ = timed(bench, folder, ["compare", "p.yaml", "--baseline", "v0"], 15)
    return row("the same with `--baseline`", "≤ 50 ms", seconds, 0.050) and held


def many_artifacts(bench):
    """10,000 artifacts: 1,000 rows over 5 seeds, each fitted and judged."""
    folder = prepared(bench, 1000, 5)
    first, _, _ = timed(bench, folder, ["compare", "p.yaml"], 1)
    settle(bench, folder)
    seconds, peak, _ = timed(bench, folder, ["compare", "p.yaml"], 5)
    return row("`compare`, 10,000 artifacts", "≤ 2 s", seconds, 2.0, f"; {mebibytes(peak)}; verifying all first {spread(first)}")


def reports(bench):
    """The page of an ablation of 12 rows over 5 seeds."""
    folder = prepared(bench, 12, 5)
    settle(bench, folder)
    seconds, peak, _ = timed(bench, folder, ["report", "p.yaml", "-o", "report.html"], 9)
    size = os.path.getsize(folder / "report.html") / 1000
    return row("`report`, 12 rows × 5 seeds", "≤ 2 s and ≤ 3 MB", seconds, 2.0, f"; {mebibytes(peak)}; a page of {size:.0f} kB") and size <= 3000


FIGURES = {"rows": fifty_rows, "many": many_artifacts, "report": reports}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/toys")
    parser.add_argument("--work", type=Path, help="where to make the work folder [default: the temporary folder]")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="FIGURE")
    bench = parser.parse_args()
    bench.program = bench.program.resolve()
    if not bench.program.is_file():
        sys.exit(f"{bench.program} is not there; run `cargo build --release --example toys`")
    bench.work = tempfile.mkdtemp(prefix="pipeline-bench-", dir=bench.work)
    try:
        print("| figure | asked | measured (median, min–max of n) | held? |\n|---|---|---|---|", flush=True)
        held = [FIGURES[name](bench) for name in bench.only]
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    return not all(held)


if __name__ == "__main__":
    sys.exit(main())
