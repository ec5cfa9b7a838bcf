#!/usr/bin/env python3
"""Writes the pipelines of the fault gate, and checks a cache after a fault.

    storm.py write FOLDER [--steps 30] [--millis 2]     FOLDER/storm.yaml, a chain of toy stages
    storm.py check PROGRAM FOLDER CACHE                 what must hold after any fault

What must hold: every artifact that is there is whole; every stage that was announced as done in
$STORM_LOG is there; with $STORM_PHASE=done all stages are there, right to the byte, and nothing is left
in tmp. The right bytes are computed here, not by the program.
"""
import json
import os
import pathlib
import re
import subprocess
import sys


def lines(steps: int) -> list[str]:
    return [f"line {i}" for i in range(steps)]


def write(folder: pathlib.Path, steps: int, millis: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.txt").write_text("input\n")
    out = ["name: storm", "stages:"]
    for i, line in enumerate(lines(steps)):
        source = "in: {text: {file: input.txt}}" if i == 0 else f"from: s{i - 1}"
        out.append(f"  s{i}: {{kind: grow, {source}, with: {{line: {line}, millis: {millis}, files: 2}}}}")
    (folder / "storm.yaml").write_text("\n".join(out) + "\n")


def ask(*command: str):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if not ran.stdout:
        sys.exit(f"{' '.join(command)} ended with {ran.returncode}: {ran.stderr}")
    return json.loads(ran.stdout)


def check(program: str, folder: pathlib.Path, cache: pathlib.Path) -> None:
    if not (cache / "v1").exists():
        return  # The fault came before the cache was made.
    pipeline = str(folder / "storm.yaml")
    damaged = ask(program, "verify", "--cache", str(cache), "--json")["damaged"]
    if damaged:
        sys.exit(f"damaged: {damaged[:3]}")
    plan = ask(program, "plan", pipeline, "--cache", str(cache), "--all", "--json")
    states = {row["step"]: row["state"] for row in plan}
    log = os.environ.get("STORM_LOG", "")
    announced = re.findall(r"^stage (\S+) done$", open(log, errors="replace").read(), re.M) if log else []
    lost = [step for step in announced if states[step] != "cached"]
    if lost:
        sys.exit(f"announced and lost: {lost}")
    if os.environ.get("STORM_PHASE") != "done":
        return
    text = (folder / "input.txt").read_text()
    for i, line in enumerate(lines(len(states))):
        text += line + "\n"
        if states[f"s{i}"] != "cached":
            sys.exit(f"s{i} is {states[f's{i}']} after a whole run")
    last = ask(program, "show", pipeline, f"s{len(states) - 1}", "--cache", str(cache), "--json")
    for name in ["text", "more/text1"]:
        if (pathlib.Path(last["folder"]) / name).read_text() != text:
            sys.exit(f"{name} of the last stage is wrong")
    left = list((cache / "v1/tmp").iterdir())
    if left:
        sys.exit(f"left in tmp: {left[:3]}")


def main() -> None:
    match sys.argv[1:]:
        case ["write", folder, *options]:
            given = dict(zip(options[::2], options[1::2]))
            write(pathlib.Path(folder), int(given.get("--steps", 30)), int(given.get("--millis", 2)))
        case ["check", program, folder, cache]:
            check(program, pathlib.Path(folder), pathlib.Path(cache))
        case _:
            sys.exit(__doc__)


main()
