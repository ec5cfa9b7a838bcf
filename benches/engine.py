#!/usr/bin/env python3
"""Measures the engine beside its peers, in one run, and prints a table in Markdown.

    cargo build --release
    python3 benches/engine.py [--peers DIR] [--all] [--only FIGURE ...]
"""

import argparse
import datetime
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import measure
import peers
from measure import duration, mebibytes, median, spread

ROOT = Path(__file__).resolve().parent.parent
# A file must lie still this long before its time stamp is trusted to show the next change.
SETTLING = 3.2
SLOW_SH = """\
echo "start $1 $$" >> log
echo half > "$3"
sleep 2
cat "$2" >> "$3"
echo "$1" >> "$3"
echo "end $1 $$" >> log
"""


@dataclass
class Row:
    figure: str
    asked: str
    ours: str
    peers: str
    # None where nothing is asked for, or what it is asked against is not installed.
    held: bool | None


class Bench:
    """Where it is measured, with what, and how often."""

    def __init__(self, arguments):
        self.all = arguments.all
        self.gibibytes = arguments.gib
        self.limit = arguments.limit
        self.jobs = os.cpu_count()
        self.ours = peers.Ours(str(arguments.program), self.jobs)
        self.work = Path(tempfile.mkdtemp(prefix="pipeline-bench-", dir=arguments.work))
        self.b3sum = measure.find("b3sum", arguments.peers)
        self.peers, self.absent = [], []
        for peer in peers.PEERS:
            program = measure.find(peer.name.lower(), arguments.peers)
            if program is None:
                self.absent.append(peer.name)
            elif peer.quick or self.all:
                self.peers.append(peer(program, self.jobs))
        self.folders = 0

    def folder(self):
        """A new folder with the input file. All are removed at the very end: a file system is slow for
        some seconds after many files were removed, and one engine would pay for another."""
        self.folders += 1
        folder = self.work / str(self.folders)
        (folder / "o").mkdir(parents=True)
        (folder / "input.txt").write_text("x\n")
        return folder

    def peer(self, name):
        return next((peer for peer in self.peers if peer.name == name), None)

    def beside(self, texts):
        """The peers' cell of a row; `texts` by name."""
        cells = [f"{name} {text}" for name, text in texts.items()]
        return "; ".join(cells + [f"{name} not installed" for name in self.absent]) or "–"


def version(bench):
    """`--version`: the time to start and end."""
    folder = bench.folder()
    engines = [bench.ours, *bench.peers]
    samples = {engine.name: [] for engine in engines}
    for round_number in range(15):
        for engine in engines:
            if engine is bench.ours or engine.name == "make" or round_number < 3:
                samples[engine.name].append(engine.version(folder).seconds)
    ours = samples.pop(bench.ours.name)
    texts = {name: spread(times) for name, times in samples.items()}
    return [Row("`--version`", "≤ 10 ms", spread(ours), bench.beside(texts), median(ours) <= 0.010)]


def noop(bench):
    """A pipeline of 1,000 stages that is up to date."""
    count = 1_000
    engines = [bench.ours, *(peer for peer in bench.peers if count <= peer.largest)]
    folders = {}
    for engine in engines:
        folders[engine.name] = bench.folder()
        engine.trivial(folders[engine.name], "fan", count)
        note(f"  {engine.name}: {count} stages once")
        engine.run(folders[engine.name], bench.limit)
    time.sleep(SETTLING)
    first = bench.ours.run(folders[bench.ours.name]).seconds
    samples, peak = {engine.name: [] for engine in engines}, 0
    for round_number in range(15):
        for engine in engines:
            if engine is bench.ours or engine.name == "make" or round_number < (5 if engine.quick else 2):
                ran = engine.run(folders[engine.name], bench.limit)
                samples[engine.name].append(ran.seconds)
                if engine is bench.ours:
                    peak = max(peak, ran.peak_bytes)
                    assert f"0 computed, {count} cached" in ran.stdout, ran.stdout
    ours = samples.pop(bench.ours.name)
    held, beside = peak <= 25 * 2**20, ""
    if samples.get("make"):
        ratio = median(ours) / median(samples["make"])
        held, beside = held and ratio <= 3.5, f"; {ratio:.1f} × make's"
    else:
        held = None if held else False
    text = f"{spread(ours)}{beside}; the first one {duration(first)}; {mebibytes(peak)}"
    texts = {name: spread(times) for name, times in samples.items()}
    return [Row("no-op of 1,000 stages", "≤ 3.5 × make's within 25 MiB", text, bench.beside(texts), held)]


def per_stage(bench):
    """Trivial stages run for the first time, ours with every result synced to the disk."""
    return [
        first_run(bench, "chain", 100, 1.4, {"ours": 5, "make": 5, "Snakemake": 3}),
        first_run(bench, "fan", 1_000, 1.6, {"ours": 3, "make": 3}),
    ]


def first_run(bench, shape, count, asked, rounds):
    engines = [bench.ours, *bench.peers]
    samples, texts = {engine.name: [] for engine in engines}, {}
    for round_number in range(max(rounds.values())):
        for engine in engines:
            wanted = rounds["ours"] if engine is bench.ours else rounds.get(engine.name, 1)
            if round_number >= wanted:
                continue
            stages = min(count, engine.largest)
            folder = bench.folder()
            engine.trivial(folder, shape, stages)
            os.sync()  # What others have written must not be ours to sync.
            note(f"  {engine.name}: {shape} of {stages}, round {round_number + 1}")
            try:
                samples[engine.name].append(engine.run(folder, bench.limit).seconds / stages)
            except measure.Unfinished as unfinished:
                texts[engine.name] = str(unfinished)
                continue
            made = engine.result(folder, stages - 1)
            assert made is not None and made.startswith(f"{stages - 1}\n"), f"{engine.name} made {made!r}"
            smaller = f" (of {stages})" if stages < count else ""
            texts[engine.name] = spread(samples[engine.name]) + smaller
    ours = samples[bench.ours.name]
    del texts[bench.ours.name]
    held, beside = None, ""
    if samples.get("make"):
        ratio = median(ours) / median(samples["make"])
        held, beside = ratio <= asked, f"; {ratio:.1f} × make's"
    figure = f"per stage, {shape} of {count:,}, synced"
    wanted = f"≤ {asked} × make's"
    return Row(figure, wanted, spread(ours) + beside, bench.beside(texts), held)


def long_chain(bench):
    """A chain of 10,000 stages in one file: whoever recurses along it, fails."""
    count = 10_000
    folder = bench.folder()
    lines = [
        "name: chain",
        "params: {from: $PIPELINE_IN_INPUT/o, to: $PIPELINE_OUT/o}",
        "stages:",
        "  s0: {kind: command, with: {run: 'echo 0 > {to}'}}",
    ]
    for i in range(1, count):
        run = f"read a b<{{from}};echo {i} $a>{{to}}"
        lines.append(f"  s{i}: {{kind: command, from: s{i - 1}, with: {{run: '{run}'}}}}")
    peers.write(folder, "pipeline.yaml", lines)
    size = (folder / "pipeline.yaml").stat().st_size
    assert size <= 2**20, size
    plan = [bench.ours.program, "plan", "pipeline.yaml"]
    plans = [measure.run(plan, folder, bench.ours.environment) for _ in range(5)]
    note(f"  {count} stages once")
    whole = bench.ours.run(folder, 1200)
    assert f"{count} computed" in whole.stdout, whole.stdout
    assert bench.ours.result(folder, count - 1, "o") == f"{count - 1} {count - 2}\n"
    time.sleep(SETTLING)
    first = bench.ours.run(folder)
    noops = [bench.ours.run(folder) for _ in range(5)]
    assert all(f"0 computed, {count} cached" in ran.stdout for ran in noops)
    peak = max(ran.peak_bytes for ran in [*plans, whole, first, *noops])
    ours = (
        f"plan {spread([ran.seconds for ran in plans])}; run {duration(whole.seconds)} "
        f"({duration(whole.seconds / count)} a stage); no-op {spread([ran.seconds for ran in noops])}, "
        f"the first one {duration(first.seconds)}; {mebibytes(peak)}; file {size / 2**20:.2f} MiB"
    )
    texts = {}
    snakemake = bench.peer("Snakemake")
    if snakemake is not None:
        folder = bench.folder()
        snakemake.trivial(folder, "chain", 1_000)
        ran = measure.run([snakemake.program, "-n", "-q", "all"], folder, may_fail=True)
        recursion = "RecursionError" in ran.stderr + ran.stdout or "recursion" in ran.stderr + ran.stdout
        texts["Snakemake"] = "at 1,000: " + (
            "works" if ran.code == 0 else "RecursionError" if recursion else f"exit code {ran.code}")
    return [Row("chain of 10,000 stages", "works, no recursion", ours, bench.beside(texts), True)]


def wide_plan(bench):
    """What would run, of 100,000 steps, none of which has run."""
    one, two = bench.folder(), bench.folder()
    axis = lambda count: "[" + ", ".join(map(str, range(count))) + "]"
    stage = "{kind: command, in: {text: {file: input.txt}}, with: {run: 'echo {a} {b} > $PIPELINE_OUT/o'}}"
    after = "{kind: command, from: s, with: {run: 'cp $PIPELINE_IN_INPUT/o $PIPELINE_OUT/o'}}"
    begin = ["name: wide", f"matrix: {{a: {axis(250)}, b: {axis(400)}}}", "stages:", f"  s: {stage}"]
    peers.write(one, "pipeline.yaml", begin)
    begin[1] = f"matrix: {{a: {axis(250)}, b: {axis(200)}}}"
    peers.write(two, "pipeline.yaml", [*begin, f"  t: {after}"])
    plan = [bench.ours.program, "plan", "pipeline.yaml"]
    rows = []
    for folder, shape, counts in [
        (one, "one stage", "100000 due"),
        (two, "two stages in a row", "50000 due, 50000 waiting"),
    ]:
        rans = [measure.run(plan, folder, bench.ours.environment) for _ in range(5)]
        assert counts in rans[0].stdout, rans[0].stdout[-300:]
        seconds, peak = [ran.seconds for ran in rans], max(ran.peak_bytes for ran in rans)
        held = median(seconds) <= 3 and peak <= 600e6
        rows.append(Row(f"plan of 100,000 steps, {shape}", "≤ 3 s and ≤ 600 MB",
                        f"{spread(seconds)}; {peak / 1e6:.0f} MB", "–", held))
    return rows


def big_input(bench):
    """One input of 2 GiB: hashed, unchanged, touched."""
    big = bench.work / "big.bin"
    chunk = os.urandom(1 << 24)
    with open(big, "wb") as file:
        for i in range(bench.gibibytes * 64):
            file.write(i.to_bytes(8, "little") + chunk[8:])
    os.sync()

    def begin(engine):
        folder = bench.folder()
        os.link(big, folder / "big.bin")
        engine.big(folder)
        return folder

    touch = lambda: os.utime(big)
    b3sum = lambda: measure.run([bench.b3sum, "big.bin"], bench.work)
    floors, firsts, noops, touched, plain = [], [], [], [], []
    if bench.b3sum:
        b3sum()
    for _ in range(3):
        folder = begin(bench.ours)
        firsts.append(bench.ours.run(folder))
        if bench.b3sum:
            plain.append(b3sum())
    time.sleep(SETTLING)
    bench.ours.run(folder)
    noops = [bench.ours.run(folder) for _ in range(9)]
    for _ in range(7):
        touch()
        touched.append(bench.ours.run(folder))
        if bench.b3sum:
            floors.append(b3sum())
    reran = (folder / "log").read_text().count("A") - 1
    seconds = lambda rans: [ran.seconds for ran in rans]
    texts = {"first": {}, "noop": {}, "touched": {}}
    for peer in bench.peers:
        if peer.name == "make":
            continue
        folder = begin(peer)
        note(f"  {peer.name}: {bench.gibibytes} GiB")
        texts["first"][peer.name] = duration(peer.run(folder).seconds)
        texts["noop"][peer.name] = spread([peer.run(folder).seconds for _ in range(3)])
        time.sleep(1.1)  # Some look at whole seconds.
        touch()
        ran = peer.run(folder)
        again = (folder / "log").read_text().count("A") > 1
        texts["touched"][peer.name] = f"{duration(ran.seconds)}, {'reruns' if again else 'nothing reruns'}"
    if bench.b3sum:
        floor = {"b3sum": f"{spread(seconds(floors))}, {mebibytes(max(ran.peak_bytes for ran in floors))}"}
        ratio = median(seconds(touched)) / median(seconds(floors))
        ratio_text, held = f"; {ratio:.2f} × b3sum's", ratio <= 1.5 and reran == 0
        first_floor = {"b3sum": spread(seconds(plain))}
    else:
        floor = first_floor = {"b3sum": "not installed"}
        ratio_text, held = "", None if reran == 0 else False
    size = f"{bench.gibibytes} GiB input"
    peak = lambda rans: mebibytes(max(ran.peak_bytes for ran in rans))
    return [
        Row(f"{size}, first run", "–", f"{spread(seconds(firsts))}; {peak(firsts)}",
            bench.beside({**first_floor, **texts["first"]}), None),
        Row(f"{size}, no-op", "≤ 40 ms", f"{spread(seconds(noops))}; {peak(noops)}",
            bench.beside(texts["noop"]), median(seconds(noops)) <= 0.040),
        Row(f"{size}, touched", "≤ 1.5 × b3sum's time, nothing reruns",
            f"{spread(seconds(touched))}{ratio_text}; {reran} reruns; {peak(touched)}",
            bench.beside({**floor, **texts["touched"]}), held),
    ]


def early_cutoff(bench):
    """A's command changes and the bytes it writes do not: does B run again?"""
    rows = []
    for size, shown in [(2, "2 bytes"), (3_000_000, "3 MB")]:
        reran = {}
        for engine in [bench.ours, *bench.peers]:
            if engine.name == "make":
                continue
            folder = bench.folder()
            engine.early(folder, "", size)
            engine.run(folder)
            time.sleep(1.1)  # Some look at whole seconds.
            before = (folder / "log").read_text().split()
            engine.early(folder, "true;", size)
            engine.run(folder)
            after = (folder / "log").read_text().split()[len(before):]
            reran[engine.name] = " + ".join(after) or "none"
        ours = reran.pop(bench.ours.name)
        rows.append(Row(f"early cut-off, {shown}", "A only", ours, bench.beside(reran), ours == "A"))
    return rows


def killed(bench):
    """SIGKILL of the engine in the middle of stage 2 of 6, and the same command again at once."""
    # In the middle of stage 2, at its very beginning, shortly before its end.
    ours = [kill_once(bench, bench.ours, delay) for delay in [0.7, 0.0, 1.9]]
    texts = {peer.name: kill_once(bench, peer, 0.7)[0] for peer in bench.peers if peer.name != "make"}
    held = all(well for _, well in ours)
    text = f"{ours[0][0]} ({len(ours)} of {len(ours)})" if held else "; ".join(text for text, _ in ours)
    asked = "right output, finished stages kept, no flag, no orphan"
    return [Row("SIGKILL mid-stage, rerun at once", asked, text, bench.beside(texts), held)]


def kill_once(bench, engine, delay):
    count, victim = 6, 2
    folder = bench.folder()
    (folder / "slow.sh").write_text(SLOW_SH)
    engine.slow(folder, count)
    log = lambda: [line.split() for line in (peers.read(folder / "log") or "").splitlines()]
    started = lambda lines: [int(line[1]) for line in lines if line[0] == "start"]
    note(f"  {engine.name}: killed {delay} s into a stage")
    process = subprocess.Popen(engine.up_to_date(), cwd=folder, env=engine.environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while victim not in started(log()):
        assert process.poll() is None and time.monotonic() - began < 120, f"{engine.name} never got there"
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.wait()
    before = log()
    ran = engine.run(folder, may_fail=True)
    flags = engine.remedies if ran.code != 0 else []
    for flag in flags:
        ran = measure.run([*engine.up_to_date(), flag], folder, engine.environment, may_fail=True)
    time.sleep(2.5)  # Whatever outlived the engine has ended by now.
    after = log()[len(before):]
    victims = [line[2] for line in before if line[:2] == ["start", str(victim)]]
    orphan = any(line[0] == "end" and line[2] in victims for line in after)
    expected, right = "x\n", ran.code == 0
    for number in range(count):
        expected = f"half\n{expected}{number}\n"
        right = right and engine.result(folder, number) == expected
    kept = min(started(after), default=count) >= victim
    words = [
        "right output" if right else "WRONG output, exit code 0" if ran.code == 0 else "no output",
        "finished stages kept" if kept else "finished stages run again",
        "needs " + " and ".join(f"`{flag}`" for flag in flags) if flags else "no flag",
        "an orphan went on" if orphan else "no orphan",
    ]
    return ", ".join(words), right and kept and not flags and not orphan


FIGURES = {
    "version": version,
    "noop": noop,
    "stage": per_stage,
    "chain": long_chain,
    "plan": wide_plan,
    "big": big_input,
    "early": early_cutoff,
    "kill": killed,
}


def processor_wait():
    """Seconds in which some task waited for a processor, since the machine started; None on old kernels."""
    text = peers.read("/proc/pressure/cpu")
    return text and int(text.split("total=")[1].split()[0]) / 1e6


def synced_file(folder):
    """The time to write a small file and sync it: the floor of all that is durable."""
    samples = []
    for number in range(60):
        began = time.perf_counter()
        with open(folder / f"synced-{number}", "wb") as file:
            file.write(b"x" * 100)
            file.flush()
            os.fsync(file.fileno())
        samples.append(time.perf_counter() - began)
    return median(samples)


def note(text):
    print(text, file=sys.stderr, flush=True)


HEAD = """\
| figure | asked | ours (median, min–max of n) | peers in the same run | held? |
|---|---|---|---|---|"""


def line(row):
    held = {True: "yes", False: "**no**", None: "–"}[row.held]
    return f"| {row.figure} | {row.asked} | {row.ours} | {row.peers} | {held} |"


def machine(bench):
    """What the figures were measured on, and with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    programs = []
    for engine in [bench.ours, *bench.peers]:
        lines = engine.version(bench.work).stdout.split("\n")
        text = next((line for line in lines if any(character.isdigit() for character in line)), "?").strip()
        programs.append(text if engine.name.lower() in text.lower() else f"{engine.name} {text}")
    if bench.b3sum:
        programs.append(measure.run([bench.b3sum, "--version"], bench.work).stdout.strip())
    return (
        f"{datetime.date.today()}; {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}; "
        f"load {os.getloadavg()[0]:.1f} at the start; a small file synced in {duration(synced_file(bench.work))}; "
        f"{', '.join(programs)}; Python {platform.python_version()}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/pipeline")
    parser.add_argument("--work", type=Path, help="where to make the work folder [default: the temporary folder]")
    parser.add_argument("--peers", type=Path, action="append", default=[], metavar="DIR",
                        help="a virtual environment, or a folder of some; before $PATH")
    parser.add_argument("--all", action="store_true", help="measure DVC and redun too")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="FIGURE",
                        help="of " + ", ".join(FIGURES))
    parser.add_argument("--gib", type=int, default=2, help="the size of the big input")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one run of a peer may take")
    arguments = parser.parse_args()
    arguments.program = arguments.program.resolve()
    arguments.peers = [folder.resolve() for folder in arguments.peers]
    if not arguments.program.is_file():
        sys.exit(f"{arguments.program} is not there; run `cargo build --release`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that what was begun is taken away.
    bench = Bench(arguments)
    try:
        print(machine(bench), end="\n\n")
        print(HEAD, flush=True)
        missed = False
        for name in arguments.only:
            note(f"{name}: {FIGURES[name].__doc__}")
            began, waited = time.monotonic(), processor_wait()
            for row in FIGURES[name](bench):
                print(line(row), flush=True)
                missed = missed or row.held is False
            if waited is not None:
                share = (processor_wait() - waited) / (time.monotonic() - began)
                note(f"  some task waited for a processor during {share:.0%} of this figure")
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
