#!/usr/bin/env python3
"""Makes the pictures of the README from the real program: `docs/terminal.svg` and `docs/report.png`.

    cargo build --release
    python3 docs/pictures.py

The second one needs Chromium on $PATH. Both show the quickstart, run in a folder that is removed afterwards.
"""

import argparse
import fcntl
import html
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = "pipelines/quickstart.yaml"
COLUMNS = 100
# Each command, and how many of its last lines are shown.
COMMANDS = [(f"pipeline run {FILE}", 5), (f"pipeline run {FILE}", 2), (f"pipeline compare {FILE}", 99)]
COLOURS = {31: "#ff8a80", 32: "#5fd3a2", 33: "#f2b866", 34: "#7fbbff", 36: "#5ecae2"}
INK, MUTED, PAPER = "#e6e9ec", "#9ba4ae", "#0f1215"
CELL, LINE, MARGIN, SIZE = 8.0, 19, 18, 13.3
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def typed(program, command, folder):
    """What a terminal gets while a command runs in it."""
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        os.chdir(folder)
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        os.execve(program, command.split(), environment)
    said = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The other end is gone.
            break
        if not piece:
            break
        said += piece
    if os.waitpid(process, 0)[1]:
        sys.exit(f"{command} failed:\n{said.decode()}")
    return said.decode()


def screen(said):
    """The lines that stand in the end, each a list of (character, style): what progress bars need, and no more."""
    lines, row, column, style = [[]], 0, 0, (INK, False)
    at = 0
    while at < len(said):
        found = SEQUENCE.match(said, at)
        if found:
            at = found.end()
            numbers = [int(number) for number in found[1].split(";") if number.isdigit()] or [0]
            if found[2] == "m":
                for number in numbers:
                    colour, bold = style
                    style = (INK, False) if number == 0 else (colour, True) if number == 1 else (COLOURS.get(number, colour), bold)
            elif found[2] == "A":
                row = max(0, row - max(1, numbers[0]))
            elif found[2] == "B":
                row += max(1, numbers[0])
            elif found[2] == "K":
                lines[row][0 if numbers[0] == 2 else column:] = []
            elif found[2] == "J":
                lines[row][column:] = []
                lines[row + 1:] = []
        else:
            character, at = said[at], at + 1
            if character == "\n":
                row, column = row + 1, 0
            elif character == "\r":
                column = 0
            elif character >= " ":
                if column == COLUMNS:
                    row, column = row + 1, 0
                    lines.extend([[]] if len(lines) <= row else [])
                line = lines[row]
                line.extend([(" ", (INK, False))] * (column + 1 - len(line)))
                line[column] = (character, style)
                column += 1
        while len(lines) <= row:
            lines.append([])
    while lines and not lines[-1]:
        lines.pop()
    return lines


def drawn(lines, about):
    width, height = COLUMNS * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img" font-size="{SIZE}" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace">'
        f"<title>A terminal</title><desc>{html.escape(about)}</desc>"
        f'<rect width="{width:g}" height="{height}" rx="8" fill="{PAPER}"/>'
    ]
    for row, line in enumerate(lines):
        start = 0
        while start < len(line):
            end = start
            while end < len(line) and line[end][1] == line[start][1]:
                end += 1
            text, (colour, bold) = "".join(character for character, _ in line[start:end]), line[start][1]
            # Whatever the font, a column is a column.
            for word in re.finditer(r"\S+( \S+)*", text):
                x, y = MARGIN + (start + word.start()) * CELL, MARGIN + row * LINE + 14
                weight = ' font-weight="700"' if bold else ""
                length = f' textLength="{len(word[0]) * CELL:g}"'
                parts.append(f'<text x="{x:g}" y="{y}"{length} fill="{colour}"{weight}>{html.escape(word[0])}</text>')
            start = end
    return "\n".join([*parts, "</svg>\n"])


def terminal(program, folder):
    lines = []
    for command, shown in COMMANDS:
        found = screen(typed(program, command, folder))
        lines.append([("$", (MUTED, False)), (" ", (INK, False)), *((character, (INK, True)) for character in command)])
        if len(found) > shown:
            lines.append([("…", (MUTED, False))])
        lines += [*found[-shown:], []]
    lines.pop()
    about = "The quickstart is run, run again, and compared: " + " ".join(command for command, _ in COMMANDS)
    (ROOT / "docs/terminal.svg").write_text(drawn(lines, about))


def report(program, folder):
    browser = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if not browser:
        return print("docs/report.png is left as it is: no Chromium on $PATH", file=sys.stderr)
    subprocess.run([program, "report", FILE, "-o", "report.html"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    picture = ROOT / "docs/report.png"
    size = ["--window-size=1100,1265", "--hide-scrollbars", f"--screenshot={picture}"]
    still = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/browser"]
    page = f"file://{folder}/report.html"
    subprocess.run([browser, *still, *size, page], check=True, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/pipeline")
    program = parser.parse_args().program.resolve()
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(ROOT / "pipelines", folder / "pipelines")
        terminal(program, folder)
        report(program, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
