#!/usr/bin/env python3
"""Measures `compare` and `report` on caches of many artifacts, beside DVC, and prints a table in Markdown.

    cargo build --release --workspace --bins
    python3 benches/compare.py [--peers DIR] [--beeline CACHE] [--only rows many report beeline]

CACHE is a folder in which `pipeline run pipelines/beeline.yaml --cache CACHE` has ended.
"""

import argparse
import json
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


def timed(program, folder, arguments, rounds):
    rans = [measure.run([program, *arguments], folder) for _ in range(rounds)]
    return [ran.seconds for ran in rans], max(ran.peak_bytes for ran in rans), rans[-1]


def row(figure, asked, seconds, limit, more="", peer="–", held=True):
    held = held and median(seconds) <= limit
    print(f"| {figure} | {asked} | {spread(seconds)}{more} | {peer} | {'yes' if held else '**no**'} |", flush=True)
    return held


def experiments(bench, count):
    """How long DVC takes for the table of so many experiments, each with the two metrics that ours has."""
    if not bench.dvc:
        return "not installed"
    folder = Path(tempfile.mkdtemp(dir=bench.work))
    author = {f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **author, "DVC_NO_ANALYTICS": "1"}
    (folder / "dvc.yaml").write_text("params: [params.yaml]\nmetrics: [metrics.json]\n")

    def do(*command):
        return measure.run(command, folder, environment)

    def judged(i):
        (folder / "params.yaml").write_text(f"skill: {i}\n")
        (folder / "metrics.json").write_text(json.dumps({"auroc": 0.5 + i / (4 * count), "loss": 0.5 - i / (4 * count)}))

    judged(0)
    for command in (["git", "init", "-q", "."], [bench.dvc, "init", "-q"], ["git", "add", "."], ["git", "commit", "-qm", "first"]):
        do(*command)
    print(f"  saving {count} experiments with DVC", file=sys.stderr, flush=True)
    for i in range(1, count + 1):
        judged(i)
        do(bench.dvc, "exp", "save", "-q", "--name", f"v{i}")
    rans = [do(bench.dvc, "exp", "show", "--csv") for _ in range(5)]
    assert f"v{count}" in rans[-1].stdout, rans[-1].stdout
    return f"DVC {spread([ran.seconds for ran in rans])}"


def fifty_rows(bench):
    """A table of 50 rows over 5 seeds."""
    folder = prepared(bench, 50, 5)
    first, _, _ = timed(bench.program, folder, ["compare", "p.yaml"], 1)
    settle(bench, folder)
    seconds, peak, ran = timed(bench.program, folder, ["compare", "p.yaml"], 15)
    assert ran.stdout.count("\n  v") + ran.stdout.count("\nv") >= 49, ran.stdout
    more = f"; {mebibytes(peak)}; verifying all first {spread(first)}"
    held = row("`compare`, 50 rows × 5 seeds", "≤ 20 ms", seconds, 0.020, more, experiments(bench, 50))
    seconds, _, _ = timed(bench.program, folder, ["compare", "p.yaml", "--baseline", "v0"], 15)
    return row("the same with `--baseline`", "≤ 20 ms", seconds, 0.020) and held


def many_artifacts(bench):
    """10,000 artifacts: 1,000 rows over 5 seeds, each fitted and judged."""
    folder = prepared(bench, 1000, 5)
    first, _, _ = timed(bench.program, folder, ["compare", "p.yaml"], 1)
    settle(bench, folder)
    seconds, peak, _ = timed(bench.program, folder, ["compare", "p.yaml"], 5)
    return row("`compare`, 10,000 artifacts", "≤ 2 s", seconds, 2.0, f"; {mebibytes(peak)}; verifying all first {spread(first)}")


def page(bench, figure, program, file, folder, cache=()):
    """How long a page takes, and how large it is."""
    seconds, peak, _ = timed(program, folder, ["report", file, *cache, "-o", "report.html"], 9)
    size = os.path.getsize(folder / "report.html") / 1000
    more = f"; {mebibytes(peak)}; a page of {size:.0f} kB"
    return row(figure, "≤ 2 s and ≤ 3 MB", seconds, 2.0, more, held=size <= 3000)


def reports(bench):
    """The page of an ablation of 50 rows over 5 seeds."""
    folder = prepared(bench, 50, 5)
    settle(bench, folder)
    return page(bench, "`report`, 50 rows × 5 seeds", bench.program, "p.yaml", folder)


def beeline(bench):
    """The page of the whole method."""
    if not bench.beeline:
        print("  left out: the report of beeline.yaml, which needs --beeline CACHE", file=sys.stderr, flush=True)
        return True
    program = bench.program.parent.parent / "pipeline"
    cache = ["--cache", str(bench.beeline.resolve())]
    folder = Path(tempfile.mkdtemp(dir=bench.work))
    return page(bench, "`report`, `beeline.yaml`", program, ROOT / "pipelines/beeline.yaml", folder, cache)


FIGURES = {"rows": fifty_rows, "many": many_artifacts, "report": reports, "beeline": beeline}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/toys")
    parser.add_argument("--peers", type=Path, nargs="+", default=[], metavar="DIR", help="where to look for DVC beside $PATH")
    parser.add_argument("--beeline", type=Path, metavar="CACHE", help="a cache in which pipelines/beeline.yaml has run")
    parser.add_argument("--work", type=Path, help="where to make the work folder [default: the temporary folder]")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="FIGURE")
    bench = parser.parse_args()
    bench.program = bench.program.resolve()
    if not bench.program.is_file():
        sys.exit(f"{bench.program} is not there; run `cargo build --release -p promises`")
    bench.dvc = measure.find("dvc", bench.peers)
    bench.work = tempfile.mkdtemp(prefix="pipeline-bench-", dir=bench.work)
    try:
        print("| figure | asked | ours (median, min–max of n) | in the same run | held? |\n|---|---|---|---|---|", flush=True)
        held = [FIGURES[name](bench) for name in bench.only]
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    return not all(held)


if __name__ == "__main__":
    sys.exit(main())
