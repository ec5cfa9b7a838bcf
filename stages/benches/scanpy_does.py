"""What `kinds.rs` compares with: makes the data, does the same with scanpy, prints seconds and MiB."""

import pathlib
import resource
import sys
import time

import anndata
import numpy as np
import pandas as pd
import scanpy
import scipy.sparse as sp

what, path = sys.argv[1], pathlib.Path(sys.argv[2])


def make(cells=10_000, genes=20_000, per_cell=2_000, patterns=500):
    random = np.random.default_rng(0)
    weights = random.pareto(1, genes) + 0.05
    weights /= weights.sum()
    drawn = [np.sort(random.choice(genes, per_cell, replace=False, p=weights)) for _ in range(patterns)]
    indices = np.concatenate([drawn[cell * 7919 % patterns] for cell in range(cells)]).astype("i4")
    counts = random.geometric(0.5, cells * per_cell).astype("f4")
    matrix = sp.csr_matrix((counts, indices, np.arange(0, cells * per_cell + 1, per_cell)), shape=(cells, genes))
    names = pd.DataFrame(index=[f"cell{i}" for i in range(cells)]), pd.DataFrame(index=[f"gene{i}" for i in range(genes)])
    anndata.AnnData(matrix, *names).write_h5ad(path / "big.h5ad", compression="gzip")
    (path / "tfs.txt").write_text("".join(f"gene{i}\n" for i in range(0, genes, 20)))
    small = random.lognormal(0, 1, size=(821, 383)) * (random.random((821, 383)) < 0.7)
    columns = [f"cell{i}" for i in range(383)]
    pd.DataFrame(small, index=[f"gene{i}" for i in range(821)], columns=columns).to_csv(path / "matrix.csv")


if what == "make":
    make()
    sys.exit()
data = anndata.read_h5ad(path) if what == "select" else None
began = time.perf_counter()
if what == "read":
    anndata.read_h5ad(path)
elif what == "csv":
    pd.read_csv(path, index_col=0)
else:
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    scanpy.pp.highly_variable_genes(data, n_top_genes=2000)
    data = data[:, data.var.highly_variable].copy()
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
