"""What `kinds.rs` compares with: makes the data, does the same with scikit-learn, prints seconds and MiB."""

import os
import pathlib
import resource
import sys
import time

import joblib
import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

what, path = sys.argv[1], pathlib.Path(sys.argv[2])
TREES = 100


def make(genes=200, tfs=50, cells=400, judged=100_000, judged_tfs=50):
    """Cells whose genes follow from three TFs each, and scored pairs."""
    import arboreto.core  # What is missing is missed here, before anything is timed.

    random = np.random.default_rng(0)
    values = random.normal(size=(genes, cells))
    for gene in range(tfs, genes):
        chosen = random.choice(tfs, 3, replace=False)
        values[gene] = 0.6 * values[gene] + np.tanh(values[chosen]).T @ random.normal(size=3)
    names = [f"gene{gene:03}" for gene in range(genes)]
    table = pd.DataFrame(values - values.min(), index=names, columns=[f"cell{cell}" for cell in range(cells)])
    table.to_csv(path / "expression.csv")
    (path / "tfs.txt").write_text("".join(f"{name}\n" for name in names[:tfs]))
    per_tf = judged // judged_tfs
    pairs = pd.DataFrame({
        "tf": np.repeat([f"tf{tf:03}" for tf in range(judged_tfs)], per_tf),
        "target": [f"gene{gene:05}" for gene in range(per_tf)] * judged_tfs,
        "label": (random.random(judged) < 0.05).astype("i1"),
        "part": "test",
    })
    scores = pairs[["tf", "target"]].assign(score=random.random(judged) + 0.2 * pairs.label)
    for folder, file, rows in [("judged", "pairs.parquet", pairs), ("scored", "scores.parquet", scores)]:
        (path / folder).mkdir()
        rows.to_parquet(path / folder / file, index=False)


class StopAsPublished:
    """arboreto's monitor with the improvement that scikit-learn told it until 1.2: that of the samples which a tree did not see.

    Since 1.3 it is told the loss on the samples of the tree before less that on this tree's, which are others.
    """

    def __init__(self, window=25):
        self.window, self.before, self.improvements = window, None, []

    def __call__(self, round, model, fitted):
        y, unseen, now = fitted["y"], ~fitted["sample_mask"], fitted["raw_predictions"][:, 0].copy()
        before = y.mean() if self.before is None else self.before[unseen]
        self.improvements.append(np.mean((y[unseen] - before) ** 2 - (y[unseen] - now[unseen]) ** 2))
        self.before = now
        return len(self.improvements) >= self.window and np.mean(self.improvements[-self.window :]) < 0


def importances(kind, expression, tfs, target, seed):
    used = [tf for tf in tfs if tf != target]
    features, values = expression[used].to_numpy("f4"), expression[target].to_numpy()
    if kind == "forest":
        # As arboreto sets it, which takes n_jobs for the targets.
        model = RandomForestRegressor(TREES, max_features="sqrt", random_state=seed).fit(features, values)
    else:
        from arboreto.core import SGBM_KWARGS, EarlyStopMonitor

        model = GradientBoostingRegressor(random_state=seed, **SGBM_KWARGS)
        model.fit(features, values, monitor=StopAsPublished() if kind == "published" else EarlyStopMonitor())
    return {(tf, target): importance * len(model.estimators_) for tf, importance in zip(used, model.feature_importances_)}


def network(kind, seed):
    expression = pd.read_csv(path / "expression.csv", index_col=0).T
    tfs = (path / "tfs.txt").read_text().split()
    began = time.perf_counter()
    jobs = (joblib.delayed(importances)(kind, expression, tfs, target, seed) for target in expression)
    found = joblib.Parallel(os.cpu_count())(jobs)
    seconds = time.perf_counter() - began
    return pd.Series({pair: score for of_target in found for pair, score in of_target.items()}), seconds


def agreement(kind, ours):
    """Spearman's correlation of ours with theirs, and of theirs with itself under another seed."""
    first, second = network(kind, 0)[0], network(kind, 1)[0]
    own = pd.read_parquet(ours).set_index(["tf", "target"]).score
    own = own.reindex(first.index)
    print(own.corr(first, "spearman"), first.corr(second, "spearman"))


def judge():
    pairs, scores = pd.read_parquet(path / "judged/pairs.parquet"), pd.read_parquet(path / "scored/scores.parquet")
    both = pairs.merge(scores, on=["tf", "target"])
    for rows in [both, *(of_tf for _, of_tf in both.groupby("tf"))]:
        metrics.roc_auc_score(rows.label, rows.score)
        metrics.average_precision_score(rows.label, rows.score)
        precision, recall, _ = metrics.precision_recall_curve(rows.label, rows.score)
        metrics.auc(recall, precision)
    metrics.roc_curve(both.label, both.score)


def cost(seconds):
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(seconds, max(peaks) / 1024)


if what == "make":
    make()
elif what == "agree":
    agreement(sys.argv[3], sys.argv[4])
elif what == "judge":
    began = time.perf_counter()
    judge()
    cost(time.perf_counter() - began)
else:
    cost(network(what, 0)[1])
