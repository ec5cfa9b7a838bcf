"""The same pipelines for each engine.

Every engine gets the same work: stage i runs `printf 'i\\n' > OUT; cat IN >> OUT` in a shell. In a chain, IN
is the output of the stage before; in a fan, one file that all stages read. Each class writes the pipeline
into an empty folder and knows the command that brings it up to date.
"""

import json
import os
import subprocess
from pathlib import Path

import measure


def stages(shape, count):
    """Each stage's number, and that of the stage it reads, if it reads one."""
    return [(i, i - 1 if shape == "chain" and i > 0 else None) for i in range(count)]


class Engine:
    """What all have in common."""

    name = ""
    # Whether it is measured without being asked for: the slow ones take most of an hour.
    quick = False
    # The largest chain and fan that it is worth waiting for.
    largest = 1_000
    # The flags that it asks for, one after the other, where it refuses to go on after a kill.
    remedies = []

    def __init__(self, program, jobs):
        self.program = program
        self.jobs = str(jobs)
        self.environment = dict(os.environ)

    def run(self, folder, limit=600, may_fail=False):
        """Brings the pipeline in `folder` up to date."""
        return measure.run(self.up_to_date(), folder, self.environment, limit, may_fail)

    def version(self, folder):
        return measure.run([self.program, "--version"], folder, self.environment)

    def result(self, folder, number):
        """What a numbered stage made, or None."""
        return read(folder / "o" / f"{number}.txt")


class Ours(Engine):
    name = "pipeline"
    quick = True

    def __init__(self, program, jobs):
        super().__init__(program, jobs)
        for name in ["PIPELINE_CACHE", "PIPELINE_LOG"]:
            self.environment.pop(name, None)

    def up_to_date(self):
        return [self.program, "run", "pipeline.yaml", "--jobs", self.jobs]

    def trivial(self, folder, shape, count):
        lines = ["name: trivial", "stages:"]
        for number, before in stages(shape, count):
            source = "{text: {file: input.txt}}" if before is None else f"{{text: s{before}}}"
            path = '"$PIPELINE_IN_TEXT"' if before is None else '"$PIPELINE_IN_TEXT/out.txt"'
            out = '"$PIPELINE_OUT/out.txt"'
            lines += [f"  s{number}:", "    kind: command", f"    in: {source}", "    with:"]
            lines += [f"      run: printf '{number}\\n' > {out}; cat {path} >> {out}"]
        write(folder, "pipeline.yaml", lines)

    def early(self, folder, code, size):
        """A writes zeros, B copies them; `code` changes the text of A and nothing else."""
        write(folder, "pipeline.yaml", [
            "name: early",
            "stages:",
            "  a:",
            "    kind: command",
            "    in: {text: {file: input.txt}}",
            f"    with: {{run: '{code} head -c {size} /dev/zero > $PIPELINE_OUT/a; echo A >> $PIPELINE_ROOT/log'}}",
            "  b:",
            "    kind: command",
            "    in: {a: a}",
            "    with: {run: 'cp $PIPELINE_IN_A/a $PIPELINE_OUT/b; echo B >> $PIPELINE_ROOT/log'}",
        ])

    def slow(self, folder, count):
        """A chain of stages that take their time in the middle of writing."""
        lines = ["name: slow", "stages:"]
        for number, before in stages("chain", count):
            source = "{text: {file: input.txt}}" if before is None else f"{{text: s{before}}}"
            path = "$PIPELINE_IN_TEXT" if before is None else "$PIPELINE_IN_TEXT/out.txt"
            script = "$PIPELINE_ROOT/slow.sh"
            run = f'cd "$PIPELINE_ROOT"; sh "{script}" {number} "{path}" "$PIPELINE_OUT/out.txt"'
            lines += [f"  s{number}:", "    kind: command", f"    in: {source}", "    with:"]
            lines += [f"      run: {run}", "      scripts: [slow.sh]"]
        write(folder, "pipeline.yaml", lines)

    def result(self, folder, number, file="out.txt"):
        show = [self.program, "show", "pipeline.yaml", f"s{number}", "--json"]
        shown = measure.run(show, folder, self.environment, may_fail=True)
        return read(Path(json.loads(shown.stdout)["folder"]) / file) if shown.code == 0 else None

    def big(self, folder):
        write(folder, "pipeline.yaml", [
            "name: big",
            "stages:",
            "  a:",
            "    kind: command",
            "    in: {big: {file: big.bin}}",
            "    with: {run: 'wc -c < $PIPELINE_IN_BIG > $PIPELINE_OUT/n; echo A >> $PIPELINE_ROOT/log'}",
        ])


class Make(Engine):
    """The floor: it hashes nothing, keeps nothing and syncs nothing."""

    name = "make"
    quick = True

    def up_to_date(self):
        return [self.program, "-s", "-j", self.jobs]

    def trivial(self, folder, shape, count):
        last = [f"o/{count - 1}.txt"] if shape == "chain" else [f"o/{i}.txt" for i in range(count)]
        lines = [".PHONY: all", "all: " + " ".join(last)]
        for number, before in stages(shape, count):
            lines += [f"o/{number}.txt: {file_of(before)}", f"\t@printf '{number}\\n' > $@; cat $< >> $@"]
        write(folder, "Makefile", lines)


class Snakemake(Engine):
    name = "Snakemake"
    quick = True

    def up_to_date(self):
        return [self.program, "-c", self.jobs, "-q", "all"]

    remedies = ["--unlock", "--rerun-incomplete"]

    def trivial(self, folder, shape, count):
        # One rule with a wildcard, as its users write it, and faster than a rule for each stage.
        last = f"'o/{count - 1}.txt'" if shape == "chain" else f"expand('o/{{i}}.txt', i=range({count}))"
        before = "lambda w: 'input.txt' if w.i == '0' else f'o/{int(w.i) - 1}.txt'"
        source = before if shape == "chain" else "'input.txt'"
        write(folder, "Snakefile", [
            "rule all:",
            f"    input: {last}",
            "rule stage:",
            f"    input: {source}",
            "    output: 'o/{i}.txt'",
            "    wildcard_constraints: i='[0-9]+'",
            "    shell: \"printf '{wildcards.i}\\\\n' > {output}; cat {input} >> {output}\"",
        ])

    def early(self, folder, code, size):
        write(folder, "Snakefile", [
            "rule b:",
            "    input: 'a.txt'",
            "    output: 'b.txt'",
            "    shell: 'cp a.txt b.txt; echo B >> log'",
            "rule a:",
            "    input: 'input.txt'",
            "    output: 'a.txt'",
            f"    shell: '{code} head -c {size} /dev/zero > a.txt; echo A >> log'",
            "rule all:",
            "    input: 'b.txt'",
        ])

    def slow(self, folder, count):
        lines = ["rule all:", f"    input: 'o/{count - 1}.txt'"]
        for number, before in stages("chain", count):
            lines += [f"rule s{number}:", f"    input: '{file_of(before)}'", f"    output: 'o/{number}.txt'"]
            lines += [f"    shell: 'sh slow.sh {number} {{input}} {{output}}'"]
        write(folder, "Snakefile", lines)

    def big(self, folder):
        write(folder, "Snakefile", [
            "rule all:",
            "    input: 'n.txt'",
            "rule a:",
            "    input: 'big.bin'",
            "    output: 'n.txt'",
            "    shell: 'wc -c < {input} > {output}; echo A >> log'",
        ])


class Dvc(Engine):
    name = "DVC"
    # A fan of 1,000 stages had not finished after several minutes.
    largest = 100

    def __init__(self, program, jobs):
        super().__init__(program, jobs)
        self.environment["DVC_NO_ANALYTICS"] = "1"

    def up_to_date(self):
        return [self.program, "repro", "-q"]

    def begin(self, folder):
        """It works in a git repository only."""
        for command in [["git", "init", "-q", "."], [self.program, "init", "-q"]]:
            subprocess.run(command, cwd=folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        write(folder, ".gitignore", ["input.txt", "big.bin", "log", "o/", "*.txt"])

    def stage(self, name, command, source, output):
        return [f"  {name}:", f"    cmd: {command}", f"    deps: [{source}]", f"    outs: [{output}]"]

    def trivial(self, folder, shape, count):
        lines = ["stages:"]
        for number, before in stages(shape, count):
            command = f"printf '{number}\\n' > o/{number}.txt; cat {file_of(before)} >> o/{number}.txt"
            # It removes an output before it runs the stage, and an empty folder with it.
            lines += self.stage(f"s{number}", f"mkdir -p o; {command}", file_of(before), f"o/{number}.txt")
        write(folder, "dvc.yaml", lines)
        self.begin(folder)

    def early(self, folder, code, size):
        lines = ["stages:"]
        lines += self.stage("a", f"{code} head -c {size} /dev/zero > a.txt; echo A >> log", "input.txt", "a.txt")
        lines += self.stage("b", "cp a.txt b.txt; echo B >> log", "a.txt", "b.txt")
        write(folder, "dvc.yaml", lines)
        if not (folder / ".dvc").exists():
            self.begin(folder)

    def slow(self, folder, count):
        lines = ["stages:"]
        for number, before in stages("chain", count):
            command = f"mkdir -p o; sh slow.sh {number} {file_of(before)} o/{number}.txt"
            lines += self.stage(f"s{number}", command, file_of(before), f"o/{number}.txt")
        write(folder, "dvc.yaml", lines)
        self.begin(folder)

    def big(self, folder):
        lines = ["stages:", *self.stage("a", "wc -c < big.bin > n.txt; echo A >> log", "big.bin", "n.txt")]
        write(folder, "dvc.yaml", lines)
        self.begin(folder)


class Redun(Engine):
    name = "redun"

    def up_to_date(self):
        return [self.program, "run", "workflow.py", "main"]

    def workflow(self, folder, lines):
        begin = ["import subprocess", "from redun import task, File", "redun_namespace = 'bench'"]
        write(folder, "workflow.py", begin + lines)

    def trivial(self, folder, shape, count):
        chain = ["    file = File('input.txt')", f"    for i in range({count}):", "        file = step(i, file)",
                 "    return file"]
        fan = [f"    return [step(i, File('input.txt')) for i in range({count})]"]
        self.workflow(folder, [
            "@task(version='1')",
            "def step(i: int, source: File) -> File:",
            "    out = f'o/{i}.txt'",
            "    command = f\"printf '{i}\\\\n' > {out}; cat {source.path} >> {out}\"",
            "    subprocess.run(['sh', '-c', command], check=True)",
            "    return File(out)",
            "@task(version='1')",
            "def main():",
            *(chain if shape == "chain" else fan),
        ])

    def early(self, folder, code, size):
        self.workflow(folder, [
            "@task()",
            "def a(file: File) -> File:",
            f"    subprocess.run(['sh', '-c', '{code} head -c {size} /dev/zero > a.txt; echo A >> log'], check=True)",
            "    return File('a.txt')",
            "@task()",
            "def b(file: File) -> File:",
            "    subprocess.run(['sh', '-c', 'cp a.txt b.txt; echo B >> log'], check=True)",
            "    return File('b.txt')",
            "@task()",
            "def main():",
            "    return b(a(File('input.txt')))",
        ])

    def slow(self, folder, count):
        self.workflow(folder, [
            "@task(version='1')",
            "def step(i: int, source: File) -> File:",
            "    subprocess.run(['sh', 'slow.sh', str(i), source.path, f'o/{i}.txt'], check=True)",
            "    return File(f'o/{i}.txt')",
            "@task(version='1')",
            "def main():",
            "    file = File('input.txt')",
            f"    for i in range({count}):",
            "        file = step(i, file)",
            "    return file",
        ])

    def big(self, folder):
        self.workflow(folder, [
            "@task(version='1')",
            "def a(file: File) -> int:",
            "    subprocess.run(['sh', '-c', 'wc -c < big.bin > n.txt; echo A >> log'], check=True)",
            "    return 0",
            "@task()",
            "def main():",
            "    return a(File('big.bin'))",
        ])


PEERS = [Make, Snakemake, Dvc, Redun]


def file_of(before):
    """The file that a stage of a peer reads."""
    return "input.txt" if before is None else f"o/{before}.txt"


def write(folder, name, lines):
    with open(folder / name, "w") as file:
        file.write("\n".join(lines) + "\n")


def read(path):
    """The text of a file, or None."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
