"""The work of `examples/bench_gnn.rs` in PyTorch Geometric: pip install torch torch_geometric.

python3 stages/benches/pyg_does.py [--threads 2] [--repeats 7] [--device cpu|cuda] [--layer gcn]...

Each layer as an edge list, and as a sparse matrix where its kind takes one (`gcn_csr`, `sage_csr`: PyTorch's own CSR
product, the fastest way that needs no compiled extension). `scripts/gpu_check.py` measures the same on a card.
"""

import argparse
import resource
import time

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

GENES, TFS, EDGES, FEATURES, PAIRS = 20_000, 1_000, 500_000, 512, 1 << 16
LAYERS = ["gcn", "gcn_csr", "sage", "sage_csr", "gat"]


def graph():
    made = torch.zeros(0, dtype=torch.long)
    while len(made) < EDGES:
        tf = (TFS * torch.rand(EDGES).square()).long()
        made = torch.cat([made, tf * GENES + torch.randint(GENES, (EDGES,))]).unique()
    made = made[torch.randperm(len(made))[:EDGES]]
    tf, target = made // GENES, made % GENES
    loops = torch.arange(GENES)
    both = torch.stack([torch.cat([tf, target, loops]), torch.cat([target, tf, loops])])
    return torch.unique(both, dim=1)


class Net(torch.nn.Module):
    def __init__(self, layer, edges):
        super().__init__()
        self.attends = layer == "gat"
        self.edges, self.weights = edges, None
        source, target = edges
        degree = torch.bincount(target, minlength=GENES).float()
        if layer == "gat":
            self.layers = torch.nn.ModuleList(
                [GATConv(FEATURES, 128, 3, add_self_loops=False), GATConv(384, 64, 3, False, add_self_loops=False)])
        elif layer.startswith("gcn"):
            # Normalised once, as cached=True would have it.
            self.layers = torch.nn.ModuleList([GCNConv(a, b, normalize=False) for a, b in [(FEATURES, 128), (128, 64)]])
            self.weights = (degree[source] * degree[target]).rsqrt()
        else:
            self.layers = torch.nn.ModuleList([SAGEConv(FEATURES, 128), SAGEConv(128, 64)])
            self.weights = 1 / degree[target] if layer.endswith("csr") else None
        if layer.endswith("csr"):
            # Row: who hears. `sum` with these weights is the mean.
            matrix = torch.sparse_coo_tensor(edges.flip(0), self.weights, (GENES, GENES))
            self.edges, self.weights = matrix.coalesce().to_sparse_csr(), None
            for conv in self.layers:
                if isinstance(conv, SAGEConv):
                    conv.aggr = "sum"
                    conv.aggr_module = type(GCNConv(1, 1).aggr_module)()

    def forward(self, x):
        for index, conv in enumerate(self.layers):
            if index:
                x = F.elu(x) if self.attends else F.relu(x)
            weighted = isinstance(conv, GCNConv) and self.weights is not None
            x = conv(x, self.edges, self.weights) if weighted else conv(x, self.edges)
        return x


def measure(layer, device, repeats):
    """Least and median seconds of a step, and the peak memory in GiB: of the card, else of the process so far."""
    torch.manual_seed(0)
    on_card = device != "cpu"
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    edges, x = graph().to(device), torch.randn(GENES, FEATURES).to(device)
    ends = [torch.randint(below, (PAIRS,)).to(device) for below in (TFS, GENES)]
    labels = (torch.rand(PAIRS) < 0.5).float().to(device)
    net = Net(layer, edges).to(device)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=on_card)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        h = net(x)
        logits = (h[ends[0]] * h[ends[1]]).sum(1)
        adam.zero_grad()
        F.binary_cross_entropy_with_logits(logits, labels).backward()
        adam.step()
        if on_card:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_card else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds[0], seconds[len(seconds) // 2], peak


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--device", default="cpu")
    options.add_argument("--layer", action="append")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    for layer in options.layer or LAYERS:
        least, median, peak = measure(layer, options.device, options.repeats)
        print(f"{layer}: least {least:.4f} s, median {median:.4f} s, peak memory {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
