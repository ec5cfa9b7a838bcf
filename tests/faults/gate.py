#!/usr/bin/env python3
"""The fault gate: kills, full disks, failing calls, rot, power cuts, crowds and hostile files.

    gate.py [--full] [--tools FOLDER] [--program FILE] [--only NAME,NAME]

The tools (killstorm, enospc, bitflip, powercut, herd, yamlmutate) are looked for in --tools, $FAULTS, or
`../shared/faults` beside the repository; without them the gate says that it was skipped. --program is the
release build with toy kinds (`cargo build --release -p promises`). What must hold after each fault is in
storm.py. Prints one line per promise, and ends with 1 if one was broken. --full takes about an hour.
"""
import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Where everything has to be there, as in CI, what is missing is a fault.
REQUIRE_ALL = bool(os.environ.get("PIPELINE_TEST_REQUIRE_ALL"))
SEED_FILE = HERE / "seed.yaml"


class Gate:
    def __init__(self, tools: pathlib.Path, program: pathlib.Path, full: bool):
        self.tools, self.program, self.full = tools, program, full
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="gate-"))
        self.cache = self.work / "cache"
        self.broken: list[str] = []
        self.storm = self.pipeline("storm", 30, 2)
        self.short = self.pipeline("short", 3, 0)

    def pipeline(self, name: str, steps: int, millis: int) -> pathlib.Path:
        folder = self.work / name
        script = [sys.executable, HERE / "storm.py", "write", folder]
        subprocess.run([*script, "--steps", str(steps), "--millis", str(millis)], check=True)
        return folder

    def run(self, folder: pathlib.Path, cache: pathlib.Path) -> str:
        return shlex.join([str(self.program), "run", str(folder / "storm.yaml"), "--cache", str(cache), "--jobs", "2"])

    def check(self, folder: pathlib.Path, cache: pathlib.Path) -> str:
        return shlex.join([sys.executable, str(HERE / "storm.py"), "check", str(self.program), str(folder), str(cache)])

    def verify(self, cache: pathlib.Path) -> str:
        return shlex.join([str(self.program), "verify", "--cache", str(cache)])

    def amount(self, short: int, full: int) -> str:
        return str(full if self.full else short)

    def tool(self, promise: str, tool: str, *arguments: str) -> None:
        began = time.monotonic()
        command = [sys.executable, str(self.tools / tool), *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=self.work)
        self.report(promise, tool, ran, time.monotonic() - began)

    def report(self, promise: str, what: str, ran: subprocess.CompletedProcess, seconds: float) -> None:
        figures = {}
        if ran.stdout.lstrip().startswith("{"):
            figures = json.loads(ran.stdout)
        numbers = [f"{k} {v}" for k, v in figures.items() if isinstance(v, int) and k not in ("seed", "wall_s")]
        verdict = {0: "held", 2: "NOT RUN"}.get(ran.returncode, "BROKEN")
        print(f"{verdict:8} {promise:8} {what}: {', '.join(numbers)} ({seconds:.0f} s)", flush=True)
        if ran.returncode != 0:
            self.broken.append(promise)
            print((ran.stdout + ran.stderr)[-3000:], flush=True)

    def skip(self, promise: str, why: str) -> None:
        print(f"skipped  {promise:8} {why}", flush=True)
        if REQUIRE_ALL:
            self.broken.append(promise)

    def own(self, promise: str, what: str, test) -> None:
        """A test of our own: it returns figures, or raises."""
        began = time.monotonic()
        try:
            figures, code, error = test(), 0, ""
        except (AssertionError, subprocess.SubprocessError, OSError) as failure:
            figures, code, error = {}, 1, repr(failure)
        ran = subprocess.CompletedProcess([], code, json.dumps(figures), error)
        self.report(promise, what, ran, time.monotonic() - began)

    # The promises, in the order in which they are cheapest to break.

    def kills(self) -> None:
        """P1, P3, P4: a kill at any instant; what was announced stays; a plain run goes on."""
        self.tool("P1,3,4", "killstorm", "-n", self.amount(100, 1000), *self.around(self.storm))

    def signals(self) -> None:
        """P14: SIGTERM to the process, SIGINT to the group."""
        grace = ("--grace", "5", "--codes", "130,143")
        self.tool("P14", "killstorm", "--signal", "TERM", "-n", self.amount(30, 500), *grace, *self.around(self.storm))
        self.tool("P14", "killstorm", "--signal", "INT", "--group", "-n", self.amount(20, 200), *grace, *self.around(self.storm))

    def calls(self) -> None:
        """P2, P6, P7: every call fails once, or is the last one."""
        points = () if self.full else ("--max-k", "4")
        self.tool("P2,6,7", "enospc", "strace", "--under", self.cache, "--no-swallow", *points, *self.around(self.short))

    def full_disks(self) -> None:
        """P6: a disk that fills up at any size."""
        mount = self.work / "small"
        mount.mkdir()
        around = ("--dir", mount, "--cmd", self.run(self.storm, mount / "cache"), "--check", self.check(self.storm, mount / "cache"))
        step = ("--step", "1.15") if self.full else ("--step", "1.5")
        self.tool("P6", "enospc", "tmpfs", "--from", "16k", "--to", "8m", *step, *around)
        self.tool("P6", "enospc", "tmpfs", "--inodes", "--from", "8", "--to", "500", *step, *around)

    def rot(self) -> None:
        """P8, P9: every damage is found and healed."""
        shutil.rmtree(self.cache, ignore_errors=True)
        subprocess.run(shlex.split(self.run(self.storm, self.cache)), check=True, capture_output=True)
        mend = ("--detect", self.verify(self.cache), "--repair", self.run(self.storm, self.cache))
        kinds = ("bit", "byte", "zero", "cut", "empty", "grow", "swap")
        # A memo that is gone is as one never written: the next run looks at the files themselves.
        for folder, kinds, count in (("entries", (*kinds, "gone"), (100, 2000)), ("memo", kinds, (20, 200))):
            which = [word for kind in kinds for word in ("--kind", kind)]
            where = ("--glob", f"v1/{folder}/*", "--skip", "v1/memo/clock")
            log = ("--log", self.work / f"flips-{folder}.jsonl")
            self.tool("P8,9", "bitflip", self.cache, *which, *where, "-n", self.amount(*count), *log, *mend)

    def power(self) -> None:
        """P5: power cuts on real file systems."""
        for fs in ("ext4", "xfs"):
            if shutil.which(f"mkfs.{fs}") is None:
                self.skip("P5", f"powercut on {fs}: mkfs.{fs} is not installed")
                continue
            mount = self.work / fs
            mount.mkdir()
            around = ("--cmd", self.run(self.storm, mount / "cache"), "--check", self.check(self.storm, mount / "cache"))
            self.tool("P5", "powercut", "--mount", mount, "--fs", fs, "-n", self.amount(10, 200), *around)

    def crowds(self) -> None:
        """P10, P11: runs at the same time compute each step once; one that dies frees its step."""
        seen = ("--computed", r"computed (s\d+)")
        self.tool("P10", "herd", "-n", "8", "--rounds", self.amount(5, 100), *seen, *self.around(self.storm))
        self.tool("P11", "herd", "-n", "8", "--kill", "3", "--rounds", self.amount(3, 100), *seen, *self.around(self.storm))

    def collection(self) -> None:
        """P13: garbage collection beside runs."""
        def test():
            shutil.rmtree(self.cache, ignore_errors=True)
            wanted, collections, runs = int(self.amount(60, 1000)), 0, 0
            command = shlex.split(self.run(self.storm, self.cache))
            crowd = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
            while collections < wanted:
                gc = [self.program, "gc", "--cache", self.cache, "--older-than", "1ms"]
                assert subprocess.run(gc, capture_output=True).returncode == 0, "gc failed"
                collections += 1
                for i, process in enumerate(crowd):
                    if process.poll() is not None:
                        assert process.returncode == 0, f"a run ended with {process.returncode}"
                        runs += 1
                        crowd[i] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert all(process.wait() == 0 for process in crowd), "a run failed"
            check = subprocess.run(shlex.split(self.check(self.storm, self.cache)), capture_output=True, text=True)
            assert check.returncode == 0, check.stderr
            return {"collections": collections, "runs": runs + len(crowd)}
        self.own("P13", "gc beside runs", test)

    def training(self) -> None:
        """P15: kills while checkpoints are saved; the resumed result is that of one run, bit for bit."""
        def test():
            folder = self.work / "training"
            folder.mkdir()
            pipeline, cache = folder / "train.yaml", folder / "cache"
            pipeline.write_text("stages: {t: {kind: train, with: {steps: 150, millis: 1, every: 1}}}\n")
            command = [str(self.program), "run", str(pipeline), "--cache", str(cache)]
            def result() -> bytes:
                assert subprocess.run(command, capture_output=True).returncode == 0, "the run failed"
                show = subprocess.run([str(self.program), "show", str(pipeline), "t", "--cache", str(cache), "--json"], capture_output=True)
                return (pathlib.Path(json.loads(show.stdout)["folder"]) / "weights.json").read_bytes()
            expected, kills, trainings = result(), 0, 0
            import random
            chance = random.Random(1)
            while kills < int(self.amount(30, 300)):
                shutil.rmtree(cache)
                trainings += 1
                for _ in range(5):
                    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    try:
                        process.wait(chance.uniform(0.005, 0.08))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                        kills += 1
                assert result() == expected, "a resumed training differs"
            return {"kills": kills, "trainings": trainings}
        self.own("P15", "kills while saving", test)

    def clocks(self) -> None:
        """P19: a clock that jumps changes no key and hangs nothing."""
        if shutil.which("faketime") is None:
            self.skip("P19", "faketime is not installed")
            return
        def test():
            shutil.rmtree(self.cache, ignore_errors=True)
            command = shlex.split(self.run(self.storm, self.cache))
            assert subprocess.run(command, capture_output=True).returncode == 0
            for shift in ["+10y", "-10y", "+1d", "-3s"] * int(self.amount(1, 5)):
                ran = subprocess.run(["faketime", "-f", shift, *command], capture_output=True, text=True, timeout=60)
                assert ran.returncode == 0 and re.search(r": 0 computed, 30 cached", ran.stdout), f"{shift}: {ran.stdout}{ran.stderr}"
                shutil.rmtree(self.cache)
                ran = subprocess.run(["faketime", "-f", shift, *command], capture_output=True, text=True, timeout=60)
                assert ran.returncode == 0, f"{shift}: {ran.stderr}"
                check = subprocess.run(shlex.split(self.check(self.storm, self.cache)), capture_output=True, text=True, env={**os.environ, "STORM_PHASE": "done"})
                assert check.returncode == 0, check.stderr
            return {"runs": 8 * int(self.amount(1, 5))}
        self.own("P19", "clocks", test)

    def without_locks(self) -> None:
        """P12, P31: no locks: slower, said once, never wrong; results that differ are reported."""
        if shutil.which("strace") is None:
            self.skip("P31", "strace is not installed")
            return
        def test():
            folder = self.work / "dice"
            folder.mkdir(exist_ok=True)
            (folder / "dice.yaml").write_text("stages: {d: {kind: dice, with: {}}, e: {kind: grow, from: d, with: {line: x}}}\n")
            said = differ = 0
            for turn in range(int(self.amount(5, 50))):
                cache = folder / f"cache{turn}"
                command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", f"inject=flock:error={['ENOLCK', 'EOPNOTSUPP', 'EBADF'][turn % 3]}",
                           str(self.program), "run", str(folder / "dice.yaml"), "--cache", str(cache), "--jobs", "2"]
                crowd = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(3)]
                heard = [process.communicate(timeout=60)[1] for process in crowd]
                assert all(process.returncode == 0 for process in crowd), heard
                said += sum("no working locks" in text for text in heard)
                computed = sum(text.count("computed d") for text in heard)
                reported = sum("not reproducible" in text for text in heard)
                assert reported >= computed - 1, f"computed {computed} times, reported {reported}"
                differ += reported
                assert subprocess.run(shlex.split(self.verify(cache)), capture_output=True).returncode == 0
            return {"runs": said, "reported": differ}
        self.own("P12,31", "no locks", test)

    def hostile_files(self) -> None:
        """P24: no pipeline file crashes, hangs or fills the memory."""
        mutants = self.work / "mutants"
        make = [sys.executable, self.tools / "yamlmutate", "make", SEED_FILE, mutants, "-n", self.amount(5000, 100000), "--refs", "from,in"]
        subprocess.run(make, check=True, capture_output=True)
        for name in ("data/words.txt", "tools/train.sh"):
            (mutants / name).parent.mkdir()
            (mutants / name).write_text("words\n")
        plan = shlex.join([str(self.program), "plan", "{}", "--cache", str(self.cache)])
        self.tool("P24", "yamlmutate", "run", mutants, "--cmd", plan)

    def around(self, folder: pathlib.Path) -> tuple:
        """What most tools take: the command, the check, and how to begin anew."""
        reset = shlex.join(["rm", "-rf", str(self.cache)])
        return ("--cmd", self.run(folder, self.cache), "--check", self.check(folder, self.cache), "--reset", reset)


PROMISES = ["kills", "signals", "calls", "full_disks", "rot", "power", "crowds", "collection", "training", "clocks", "without_locks", "hostile_files"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--tools", type=pathlib.Path, default=pathlib.Path(os.environ.get("FAULTS", ROOT.parent / "shared/faults")))
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/toys")
    parser.add_argument("--only", default=",".join(PROMISES))
    options = parser.parse_args()
    if not options.tools.is_dir():
        print(f"skipped: the fault tools are not in {options.tools}")
        sys.exit(1 if REQUIRE_ALL else 0)
    if not options.program.exists():
        sys.exit(f"{options.program} is missing: cargo build --release -p promises")
    gate = Gate(options.tools.resolve(), options.program.resolve(), options.full)
    began = time.monotonic()
    for name in options.only.split(","):
        getattr(gate, name)()
    shutil.rmtree(gate.work, ignore_errors=True)
    print(f"{len(gate.broken)} broken, {time.monotonic() - began:.0f} s")
    sys.exit(1 if gate.broken else 0)


main()
