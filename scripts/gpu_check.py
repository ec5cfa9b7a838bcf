"""PyTorch's side of scripts/gpu-check: scBERT's Performer, eager and compiled, and PyTorch Geometric's graph networks, on the
same card beside our times.

Usage: gpu_check.py ROWS, a line for each case: PRECISION CASE: least S s, median S s, peak memory G GiB
The attention is FAVOR+ as the original's library writes it; width 200, depth 6, 10 heads of 64, 266 features.
"""

import re
import statistics
import sys
import time

try:
    import torch
    from torch import nn
except ImportError:
    torch = None
try:
    import pyg_does
except ImportError:
    pyg_does = None

WIDTH, DEPTH, HEADS, HEAD, FEATURES, TOKENS = 200, 6, 10, 64, 266, 7


def ours(path):
    """Precision, the parts of a case, and what was measured."""
    pattern = r"(\w+) (\S+): least ([\d.]+) s, median ([\d.]+) s, peak memory ([\d.]+) GiB"
    for line in open(path):
        found = re.match(pattern, line)
        if found:
            precision, case, *numbers = found.groups()
            yield precision, case.split(":"), tuple(map(float, numbers))


def model(genes):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            inner = HEADS * HEAD
            self.q, self.k, self.v = (nn.Linear(WIDTH, inner, bias=False) for _ in range(3))
            self.out = nn.Linear(inner, WIDTH)
            self.register_buffer("projection", torch.randn(FEATURES, HEAD))

        def features(self, x, is_query):
            scale = HEAD**-0.25
            projected = torch.einsum("bhnd,md->bhnm", scale * x, self.projection)
            half = (x**2).sum(-1, keepdim=True) / 2 * scale**2
            most = projected.amax(-1, keepdim=True) if is_query else projected.amax((-1, -2), keepdim=True)
            return FEATURES**-0.5 * (torch.exp(projected - half - most.detach()) + 1e-4)

        def forward(self, x):
            cells, length, _ = x.shape
            q, k, v = (f(x).view(cells, length, HEADS, HEAD).transpose(1, 2) for f in (self.q, self.k, self.v))
            q, k = self.features(q, True), self.features(k, False)
            context = torch.einsum("bhnm,bhnd->bhmd", k, v)
            part = 1.0 / torch.einsum("bhnm,bhm->bhn", q, k.sum(-2))
            y = torch.einsum("bhmd,bhnm,bhn->bhnd", context, q, part)
            return self.out(y.transpose(1, 2).reshape(cells, length, HEADS * HEAD))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
            self.attention = Attention()
            self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x):
            x = x + self.attention(self.norms[0](x))
            return x + self.feed(self.norms[1](x))

    class Performer(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(TOKENS, WIDTH), nn.Embedding(genes, WIDTH)
            self.blocks = nn.Sequential(*[Block() for _ in range(DEPTH)], nn.LayerNorm(WIDTH))
            self.head = nn.Linear(WIDTH, TOKENS)

        def forward(self, tokens):
            x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
            return self.head(self.blocks(x))

    return Performer().cuda()


def measure(precision, what, cells, genes, compiled):
    """Least and median seconds and the peak in GiB; none where it does not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.manual_seed(0)
    net = model(genes)
    step = torch.compile(net) if compiled else net
    adam = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(0, 6, (cells, genes), device="cuda")
    targets = torch.where(torch.rand(tokens.shape, device="cuda") < 0.15, tokens, -100)
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")

    def train():
        with autocast:
            loss = nn.functional.cross_entropy(step(tokens).flatten(0, 1).float(), targets.flatten())
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss.item()

    def infer():
        with torch.no_grad(), autocast:
            return step(tokens).float().cpu()

    run = train if what == "train" else infer
    try:
        for _ in range(3):
            run()
        seconds = []
        for _ in range(10):
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    except torch.cuda.OutOfMemoryError:
        return None
    return min(seconds), statistics.median(seconds), torch.cuda.max_memory_allocated() / 2**30


def shown(found):
    return "does not fit" if found is None else f"{found[0] * 1e3:.1f} / {found[1] * 1e3:.1f}, {found[2]:.1f} GiB"


def ratio(found, other):
    return "–" if other is None else f"{found[0] / other[0]:.2f}"


def performer(rows, on_card):
    columns = ["work", "precision", "ours"] + ["eager", "compiled", "ours / eager", "ours / compiled"] * on_card
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for precision, (what, cells, genes), found in rows:
        cells, genes = int(cells), int(genes)
        work = "training step" if what == "train" else "inference"
        row = [f"{work}, {cells} × {genes} genes", precision, shown(found)]
        if what == "infer":
            row[-1] += f" ({found[0] * 1e3 / cells:.2f} a cell)"
        if on_card:
            both = [measure(precision, what, cells, genes, compiled) for compiled in (False, True)]
            row += [*map(shown, both), *(ratio(found, other) for other in both)]
        print(f"| {' | '.join(row)} |", flush=True)


def networks(rows, on_card):
    beside = on_card and pyg_does is not None
    if on_card and not beside:
        print("Python has no PyTorch Geometric here, so only our side.\n")
    columns = ["an epoch of a graph network", "ours"] + ["edge list", "CSR", "ours / the faster"] * beside
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for _, (layer, genes), found in rows:
        row = [f"{layer}, {genes} genes", shown(found)]
        if beside:
            known = [name if name in pyg_does.LAYERS else None for name in (layer, f"{layer}_csr")]
            both = [name and pyg_does.measure(name, "cuda", 10) for name in known]
            row += ["–" if other is None else shown(other) for other in both]
            row.append(ratio(found, min(filter(None, both))))
        print(f"| {' | '.join(row)} |", flush=True)


def main():
    rows = list(ours(sys.argv[1]))
    on_card = torch is not None and torch.cuda.is_available()
    if on_card:
        print(f"PyTorch {torch.__version__}. Least / median milliseconds, peak memory.\n")
    else:
        print("Python has no PyTorch with CUDA here, so only our side. Least / median milliseconds, peak memory.\n")
    performer([row for row in rows if len(row[1]) == 3], on_card)
    print()
    networks([row for row in rows if len(row[1]) == 2], on_card)


main()
