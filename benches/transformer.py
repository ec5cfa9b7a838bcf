"""The transformer beside PyTorch: both sides in turns, with the same shapes, threads and 32-bit numbers.

    python3 -m venv torch && torch/bin/pip install torch performer-pytorch
    cargo build --release -p stages --examples
    torch/bin/python benches/transformer.py [--threads 2] [--rounds 5] [--repeats 3] [--case train:4:1025]...

Cases: `encoder`, a step of nn.TransformerEncoder (8 x 512 tokens, width 200, 10 heads, feed-forward 800, 2 layers, Adam); and
`train:CELLS:GENES` and `infer:CELLS:GENES` of scBERT's Performer (width 200, depth 6, 10 heads of 64, 266 features).
Each round is a process of ours and one of PyTorch's, one after the other. Each warms up with one step and gives the median of
the next ones. Given are the median over rounds with the extremes, the same of the ratios within a round, and the peak memory.
"""
import argparse
import json
import pathlib
import re
import resource
import sys
import time

import measure

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "target/release/examples"
CASES = ["encoder", "train:4:1025", "infer:1:1025", "infer:1:4000", "infer:1:16907"]


def torch_side(case, threads, repeats):
    """Prints the median seconds and the GiB of the PyTorch side."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = encoder(torch) if case == "encoder" else performer(torch, *case.split(":"))
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps([measure.median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))


def encoder(torch):
    """A step of an ordinary transformer."""
    layer = torch.nn.TransformerEncoderLayer(200, 10, 800, dropout=0.0, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.randn(8, 512, 200)

    def step():
        adam.zero_grad(set_to_none=True)
        y = model(x)
        (y * y).mean().backward()
        adam.step()

    return step


def performer(torch, what, cells, genes):
    """A training step or inference of the Performer as scBERT has it."""
    from performer_pytorch import Performer

    cells, genes = int(cells), int(genes)
    tokens = torch.nn.Embedding(7, 200)
    positions = torch.nn.Embedding(genes, 200)
    body = Performer(dim=200, depth=6, heads=10, dim_head=64, ff_mult=4, feature_redraw_interval=None)
    model = torch.nn.ModuleList([tokens, positions, body, torch.nn.LayerNorm(200), torch.nn.Linear(200, 7)])
    model.train(what == "train")
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    given = torch.randint(0, 6, (cells, genes))
    target = torch.where(torch.rand(cells, genes) < 0.15, given, torch.full_like(given, 6))

    def logits():
        x = tokens(given) + positions(torch.arange(genes))
        return model[4](model[3](body(x)))

    def train():
        loss = torch.nn.functional.cross_entropy(logits().flatten(0, 1), target.flatten(), ignore_index=6)
        adam.zero_grad()
        loss.backward()
        adam.step()

    def infer():
        with torch.no_grad():
            logits()

    return train if what == "train" else infer


def our_side(case, threads, repeats):
    """The median seconds and the GiB of our side."""
    options = ["--threads", str(threads), "--repeats", str(repeats)]
    if case == "encoder":
        command = [EXAMPLES / "bench_transformer", *options, "--case", "step"]
    else:
        command = [EXAMPLES / "bench_performer", *options, "--case", case]
    ran = measure.run(command, EXAMPLES)
    seconds = float(re.search(r"median ([\d.]+) s", ran.stdout).group(1))
    return seconds, ran.peak_bytes / 2**30


def main():
    """Both sides of every case, in turns."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--case", action="append")
    options.add_argument("--torch", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.torch:
        return torch_side(given.torch, given.threads, given.repeats)
    print("| case | ours | PyTorch | ratio | memory, ours | PyTorch |\n|---|---|---|---|---|---|", flush=True)
    for case in given.case or CASES:
        ours, theirs = [], []
        for _ in range(given.rounds):
            ours.append(our_side(case, given.threads, given.repeats))
            again = [sys.executable, "-W", "ignore", str(pathlib.Path(__file__).resolve()), "--torch", case]
            again += ["--threads", str(given.threads), "--repeats", str(given.repeats)]
            theirs.append(json.loads(measure.run(again, EXAMPLES).stdout))
        (times_ours, memory_ours), (times_theirs, memory_theirs) = zip(*ours), zip(*theirs)
        ratios = [one / other for one, other in zip(times_ours, times_theirs)]
        memory = f"{max(memory_ours):.2f} GiB | {max(memory_theirs):.2f} GiB"
        print(
            f"| `{case}` | {measure.spread(times_ours)} | {measure.spread(times_theirs)} "
            f"| {measure.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {memory} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
