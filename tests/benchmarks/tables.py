"""Real tables in blocks of columns: what programs with default settings impute and classify, beside five-line scripts
of scikit-learn.

    python tests/benchmarks/tables.py [--root DATA] [--programs factors mvae mopoe] [--sets wine ...] [--quick]
        [--json [FILE]]

Every set is cut by cross-validation, and a share of its blocks (none, 30 %) is hidden at random in training and test
rows; each row keeps one block. A cell of the table is one question: a block from all others, or a label from one block,
two, or all. A question is put to the test rows that have at least one of the blocks it is given.

- rmse of a block, and interval score at 90 % (Gneiting and Raftery 2007, eq. 43), both as a mean over the columns'
  values in units of the training rows' standard deviation; columns that have one value in 98 % of the training rows
  do not count. Anchors: RidgeCV on mean-imputed blocks with mask features, its interval that of a normal with the
  cross-validated sd of each column; IterativeImputer, with the test rows' block hidden.
- log loss (nats) and balanced accuracy of a label. Anchors: logistic regression on the same features, and
  HistGradientBoostingClassifier on blocks with gaps and mask features.

A cell is held if, within one standard error of the paired differences over folds, the rmse is at most 1.02 times that
of the better anchor, the interval score at most ridge's, log loss and balanced accuracy not behind logistic regression
and at most 0.01 behind gradient boosting. Anchors are computed once per fold and kept in `--cache`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

import mmppl
from mmppl.core.loading import load_program
from mmppl.data.splits import stratified_split

RESULTS = Path(__file__).parent / "results" / "tables.json"
RATES = (0.0, 0.3)
FOLDS = 5
LEVEL = 0.9
NORMAL90 = 1.6448536269514722
COMMON = 0.98  # a column with one value in so many training rows is not scored
WIDE = 300  # columns; beyond, IterativeImputer takes the 30 nearest and three rounds
VERSION = 1  # of the anchors in the cache
SLACK = {"rmse": 1.02, "boosting": 0.01}

Arrays = dict[str, np.ndarray]


@dataclass
class Table:
    """A data set: blocks (N, d_m), labels (N,) as words, and how many of its folds are used."""

    name: str
    blocks: Arrays
    labels: Arrays
    folds: int = FOLDS
    pairs: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training and test rows of each fold, stratified by the last label."""
        if self.labels:
            by = list(self.labels.values())[-1]
            yield from StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(by, by)
        else:
            yield from KFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(len(self)))

    def questions(self) -> list[tuple[str, tuple[str, ...]]]:
        """(target, given) of every cell."""
        names = list(self.blocks)
        asked = [(name, tuple(n for n in names if n != name)) for name in names]
        sizes = [1, *([2] if self.pairs or len(names) == 3 else []), len(names)]
        givens = dict.fromkeys(given for size in sizes for given in itertools.combinations(names, size))
        return asked + [(label, given) for label in self.labels for given in givens]


@dataclass
class Fold:
    """One fold: training rows as programs get them, test rows with the same share of blocks hidden, and the truth."""

    table: Table
    rate: float
    number: int
    train: np.ndarray
    test: np.ndarray
    seen: dict[str, np.ndarray]

    def block(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A block in units of the training rows that have it, NaN where it is hidden."""
        x = self.scaled(name, rows)
        x[~self.seen[name][rows]] = np.nan
        return x

    def scaled(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A block in those units, with nothing hidden."""
        mean, sd = self.moments(name)
        return (self.table.blocks[name][rows] - mean) / sd

    def moments(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        x = self.table.blocks[name][self.train][self.seen[name][self.train]]
        sd = x.std(0)
        return x.mean(0), np.where(sd > 1e-13 * np.abs(x.mean(0)), sd, 1.0)

    def counted(self, name: str) -> np.ndarray:
        """(d_m,) which columns are scored."""
        x = self.table.blocks[name][self.train][self.seen[name][self.train]]
        return np.array([np.unique(column, return_counts=True)[1].max() < COMMON * len(x) for column in x.T])

    def asked(self, given: tuple[str, ...]) -> np.ndarray:
        """The test rows that have at least one of the given blocks."""
        return self.test[np.any([self.seen[n][self.test] for n in given], 0)]

    def features(self, given: tuple[str, ...], rows: np.ndarray, *, gaps: bool = False) -> np.ndarray:
        """Given blocks side by side, hidden ones 0 (their mean) or NaN, and the masks where anything is hidden."""
        parts = [self.block(n, rows) for n in given]
        masks = [self.seen[n][rows, None].astype(float) for n in given] if self.rate else []
        x = np.concatenate([*parts, *masks], 1)
        return x if gaps else np.nan_to_num(x, nan=0.0)


def load(root: Path | None) -> dict[str, Callable[[], Table]]:
    """name → a function that loads the set."""

    def cut(name: str, x: np.ndarray, label: np.ndarray | None, **options: Any) -> Table:
        parts = np.array_split(np.arange(x.shape[1]), 3)  # consecutive columns
        labels = {} if label is None else {"label": words(label)}
        return Table(name, {f"block{i}": x[:, at] for i, at in enumerate(parts)}, labels, **options)

    def diabetes() -> Table:
        x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
        table = cut("diabetes", x, None)
        return Table("diabetes", {**table.blocks, "progression": y[:, None]}, {})

    def own(name: str) -> dict[str, np.ndarray]:
        if root is None or not (root / name / f"{name}.npz").exists():
            raise FileNotFoundError(f"no {name}/{name}.npz below --root {root}")
        with np.load(root / name / f"{name}.npz") as file:
            return dict(file)

    def nutrimouse() -> Table:
        file = own("nutrimouse")
        labels = {n: words(file[n]) for n in ("genotype", "diet")}
        return Table("nutrimouse", {n: file[n].astype(float) for n in ("gene", "lipid")}, labels)

    def uci_mfeat() -> Table:
        file = own("uci_mfeat")
        blocks = {n: file[n].astype(float) for n in ("fou", "fac", "kar", "pix", "zer", "mor")}
        return Table("uci_mfeat", blocks, {"label": words(file["label"])}, folds=3, pairs=True)

    return {
        "nutrimouse": nutrimouse,
        "wine": lambda: cut("wine", *datasets.load_wine(return_X_y=True)),
        "breast_cancer": lambda: cut("breast_cancer", *datasets.load_breast_cancer(return_X_y=True)),
        "diabetes": diabetes,
        "digits": lambda: cut("digits", *datasets.load_digits(return_X_y=True), folds=3),
        "uci_mfeat": uci_mfeat,
    }


def words(label: np.ndarray) -> np.ndarray:
    return np.array([f"c{value}" for value in label])


def folds_of(table: Table, rate: float, most: int | None) -> Iterator[Fold]:
    """The folds with a share `rate` of the blocks hidden; a row of which all would be hidden keeps one of them."""
    for number, (train, test) in enumerate(table.splits()):
        if number == min(table.folds, most or table.folds):
            return
        draw = np.random.default_rng(1000 + number)
        seen = draw.random((len(table), len(table.blocks))) >= rate
        kept = draw.integers(len(table.blocks), size=len(table))
        nothing = ~seen.any(1)
        seen[nothing, kept[nothing]] = True
        yield Fold(table, rate, number, train, test, dict(zip(table.blocks, seen.T)))


def interval_score(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    miss = 2 / (1 - LEVEL)
    score = (high - low) + miss * np.maximum(low - truth, 0) + miss * np.maximum(truth - high, 0)
    return float(score.mean())


def rmse(truth: np.ndarray, guess: np.ndarray) -> float:
    return float(np.sqrt(((truth - guess) ** 2).mean()))


def of_label(truth: np.ndarray, prob: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Log loss with every class of the table, and balanced accuracy of the likeliest."""
    prob = np.clip(prob.astype(float), 1e-15, None)
    prob /= prob.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that no asked row of a small fold has
        accuracy = balanced_accuracy_score(truth, classes[prob.argmax(1)])
    return {"log_loss": log_loss(truth, prob, labels=classes), "accuracy": float(accuracy)}


def anchors(fold: Fold) -> dict[str, dict[str, Any]]:
    """What scikit-learn makes of each question: cell → anchor → figures."""
    found: dict[str, dict[str, Any]] = {}
    for target, given in fold.table.questions():
        asked = fold.asked(given)
        if target in fold.table.blocks:
            found[cell(target, given, fold)] = {
                "ridge": ridge(fold, target, given, asked),
                "iterative": {"rmse": iterative(fold, target, asked)},
            }
        else:
            found[cell(target, given, fold)] = classifiers(fold, target, given, asked)
    return found


def ridge(fold: Fold, target: str, given: tuple[str, ...], asked: np.ndarray) -> dict[str, float]:
    rows, counted = fold.train[fold.seen[target][fold.train]], fold.counted(target)
    x, y = fold.features(given, rows), fold.scaled(target, rows)[:, counted]
    model = RidgeCV(alphas=np.logspace(-2, 4, 13)).fit(x, y)
    held_out = cross_val_predict(Ridge(model.alpha_), x, y, cv=KFold(5, shuffle=True, random_state=0))
    sd = np.sqrt(((y - held_out.reshape(y.shape)) ** 2).mean(0))
    truth = fold.scaled(target, asked)[:, counted]
    guess = model.predict(fold.features(given, asked)).reshape(truth.shape)
    return {
        "rmse": rmse(truth, guess),
        "interval": interval_score(truth, guess - NORMAL90 * sd, guess + NORMAL90 * sd),
    }


def iterative(fold: Fold, target: str, asked: np.ndarray) -> float:
    names = list(fold.table.blocks)
    hidden = [np.full_like(fold.scaled(n, asked), np.nan) if n == target else fold.block(n, asked) for n in names]
    train = [fold.block(n, fold.train) for n in names]
    x = np.concatenate([np.concatenate(train, 1), np.concatenate(hidden, 1)])
    few = dict(n_nearest_features=30, max_iter=3) if x.shape[1] > WIDE else {}
    imputer = IterativeImputer(random_state=0, skip_complete=True, keep_empty_features=True, **few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its rounds are the definition of this anchor
        filled = imputer.fit_transform(x)[len(fold.train) :]
    first = sum(fold.table.blocks[n].shape[1] for n in names[: names.index(target)])
    counted = fold.counted(target)
    guess = filled[:, first : first + len(counted)][:, counted]
    return rmse(fold.scaled(target, asked)[:, counted], guess)


def classifiers(fold: Fold, label: str, given: tuple[str, ...], asked: np.ndarray) -> dict[str, dict[str, float]]:
    truth, y = fold.table.labels[label][asked], fold.table.labels[label][fold.train]
    logistic = LogisticRegression(max_iter=2000).fit(fold.features(given, fold.train), y)
    boosting = HistGradientBoostingClassifier(random_state=0).fit(fold.features(given, fold.train, gaps=True), y)
    return {
        "logistic": of_label(truth, logistic.predict_proba(fold.features(given, asked)), logistic.classes_),
        "boosting": of_label(truth, boosting.predict_proba(fold.features(given, asked, gaps=True)), boosting.classes_),
    }


def cell(target: str, given: tuple[str, ...], fold: Fold) -> str:
    whole = len(given) == len(fold.table.blocks) - (target in fold.table.blocks)
    return f"{target} from {'all' if whole and len(given) > 1 else '+'.join(given)}"


def cached(fold: Fold, cache: Path) -> dict[str, dict[str, Any]]:
    """The anchors of a fold, computed where the cache does not have them."""
    path = cache / f"{fold.table.name}-{fold.rate:g}-{fold.number}-v{VERSION}.json"
    if not path.exists():
        found = anchors(fold)
        cache.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(found))
        draft.replace(path)
    found = json.loads(path.read_text())
    return dict(found)


def of_program(name: str, fold: Fold, options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], float]:
    """What a program makes of each question, and the seconds of its fit."""
    table = fold.table
    split = np.zeros(len(table), np.int8)
    split[fold.test] = 2
    if options.valid:
        groups = np.unique(list(table.labels.values())[-1], return_inverse=True)[1] if table.labels else split * 0
        split[fold.train] = stratified_split(
            groups[fold.train], seed=fold.number, shares=(1 - options.valid, options.valid, 0.0)
        )
    rows = np.flatnonzero(split < 2)
    data = {n: as_given(x, fold.seen[n])[rows] for n, x in table.blocks.items()}
    data |= {n: x[rows] for n, x in table.labels.items()} | {"split": split[rows]}
    started = time.perf_counter()
    run = mmppl.fit(
        name,
        data,
        hyper=dict(pair.split("=", 1) for pair in options.set),
        as_=dict.fromkeys(table.blocks, options.likelihood) if options.likelihood else {},
        epochs=epochs(name, np.sum(split == 0), options),
        seed=fold.number,
    )
    seconds = time.perf_counter() - started
    found = {}
    for target, given in table.questions():
        asked = fold.asked(given)
        new = {n: as_given(x, fold.seen[n])[asked] for n, x in table.blocks.items()}
        answer = run.query(new, given=list(given), want=[target], draws=options.draws)[target]
        if target in table.labels:
            truth, classes = table.labels[target][asked], np.array([str(c) for c in answer["classes"]])
            every = np.unique(table.labels[target])
            prob = np.zeros((len(asked), len(every)))
            prob[:, np.searchsorted(every, classes)] = answer["prob"]
            found[cell(target, given, fold)] = of_label(truth, prob, every)
        else:
            (mean, sd), counted = fold.moments(target), fold.counted(target)
            truth = fold.scaled(target, asked)[:, counted]
            guess, low, high = (
                ((answer[key].reshape(len(asked), -1) - mean) / sd)[:, counted] for key in ("mean", "q05", "q95")
            )
            found[cell(target, given, fold)] = {
                "rmse": rmse(truth, guess),
                "interval": interval_score(truth, low, high),
                "covered": float(((low <= truth) & (truth <= high)).mean()),
            }
    return found, seconds


def as_given(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)  # also of what is counted: its gaps are NaN
    x[~seen] = np.nan
    return x


def epochs(program: str, rows: int, options: argparse.Namespace) -> int | None:
    """Epochs for about so many steps, where the call says how many."""
    if options.steps is None:
        return None
    batch = load_program(program).training.get("batch_size", 128)
    return max(1, round(options.steps / np.ceil(rows / batch)))


def judged(programs: list[str], by_fold: list[dict[str, Any]]) -> dict[str, Any]:
    """One cell: means over folds of every anchor and program, and for each program what is lost: metric → by how much,
    and the standard error of that.

    Args:
        programs: their names.
        by_fold: name of an anchor or program → metric → figure, for each fold.
    """
    found: dict[str, Any] = {}
    for name in by_fold[0]:
        found[name] = {k: float(np.mean([f[name][k] for f in by_fold])) for k in by_fold[0][name]}
    lost: dict[str, dict[str, Any]] = {}
    for program in programs:
        if program not in by_fold[0]:
            continue
        lost[program] = {}
        for metric, bounds in bounds_of(found, by_fold).items():
            ours = np.array([f[program][metric] for f in by_fold])
            sign = -1 if metric == "accuracy" else 1
            behind = [sign * (ours - bound) for bound in bounds]
            error = [b.std(ddof=1) / len(b) ** 0.5 if len(b) > 1 else 0.0 for b in behind]
            worst = max(range(len(behind)), key=lambda i: behind[i].mean() - error[i])
            if behind[worst].mean() > error[worst] + 1e-9:
                lost[program][metric] = [float(behind[worst].mean()), float(error[worst])]
    return {**found, "lost": lost}


def bounds_of(means: dict[str, Any], by_fold: list[dict[str, Any]]) -> dict[str, list[np.ndarray]]:
    """Metric → (folds,) arrays, none of which may be exceeded (accuracy: undercut)."""

    def over_folds(anchor: str, metric: str) -> np.ndarray:
        return np.array([f[anchor][metric] for f in by_fold])

    if "ridge" in means:
        better = min(("ridge", "iterative"), key=lambda a: means[a]["rmse"])
        return {"rmse": [SLACK["rmse"] * over_folds(better, "rmse")], "interval": [over_folds("ridge", "interval")]}
    slack = SLACK["boosting"]
    return {
        "log_loss": [over_folds("logistic", "log_loss"), over_folds("boosting", "log_loss") + slack],
        "accuracy": [over_folds("logistic", "accuracy"), over_folds("boosting", "accuracy") - slack],
    }


def table_of(cells: dict[str, dict[str, Any]], programs: list[str]) -> str:
    """A line per cell and metric; × marks what is lost."""
    kinds = {"rmse": ("ridge", "iterative"), "interval": ("ridge",)}
    kinds |= dict.fromkeys(("log_loss", "accuracy"), ("logistic", "boosting"))
    lines = [f"{'cell':<42}{'metric':<10}{'anchors':<26}" + "".join(f"{p:<14}" for p in programs)]
    for name, found in cells.items():
        for metric, of in kinds.items():
            if of[0] not in found:
                continue
            line = f"{name:<42}{metric:<10}" + f"{'  '.join(f'{a} {found[a][metric]:.3f}' for a in of):<38}"
            for program in programs:
                if program in found:
                    mark = "×" if metric in found["lost"][program] else ""
                    line += f"{f'{found[program][metric]:.3f}{mark}':<12}"
            lines.append(line)
    for program in programs:
        of = [(name, metric) for name, c in cells.items() for metric in c["lost"].get(program, {})]
        asked = sum(len(kinds) // 2 for c in cells.values() if program in c)
        kind = {m: sum(k == m for _, k in of) for m in kinds}
        lines.append(f"{program}: {len(of)} of {asked} lost: " + ", ".join(f"{k} {v}" for k, v in kind.items()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].replace("\n", " "))
    parser.add_argument("--programs", nargs="*", default=["factors", "mvae", "mopoe"])
    parser.add_argument("--sets", nargs="+", help="default: all")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="shares of the blocks that are hidden")
    parser.add_argument("--folds", type=int, help="at most so many")
    parser.add_argument("--quick", action="store_true", help="wine and diabetes, two folds")
    parser.add_argument("--root", type=Path, default=os.environ.get("MMPPL_DATA"), help="folder of nutrimouse/, ...")
    parser.add_argument(
        "--valid", type=float, default=0.1, help="share of the training rows that programs may hold out"
    )
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="not the default: a trial")
    parser.add_argument("--likelihood", help="of all blocks: a trial")
    parser.add_argument("--steps", type=int, help="about so many steps: a trial")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mmppl-tables")
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaders = load(options.root and Path(options.root))
    sets = options.sets or (["wine", "diabetes"] if options.quick else list(loaders))
    programs = []
    for program in options.programs:
        try:
            load_program(program)
            programs.append(program)
        except mmppl.UsageError as error:
            print(f"skipped {program}: {error}")
    cells: dict[str, dict[str, Any]] = {}
    seconds: dict[str, dict[str, float]] = {}
    for name in sets:
        try:
            table = loaders[name]()
        except FileNotFoundError as error:
            print(f"skipped {name}: {error}")
            continue
        for rate in options.rates:
            by_cell: dict[str, list[dict[str, Any]]] = {}
            times: dict[str, list[float]] = {program: [] for program in programs}
            for fold in folds_of(table, rate, 2 if options.quick else options.folds):
                found = cached(fold, options.cache)
                for program in programs:
                    ours, took = of_program(program, fold, options)
                    times[program].append(took)
                    for key, figures in ours.items():
                        found[key][program] = figures
                for key, figures in found.items():
                    by_cell.setdefault(f"{name} {rate:.0%} {key}", []).append(figures)
            here = {key: judged(programs, by_fold) for key, by_fold in by_cell.items()}
            cells |= here
            seconds[f"{name} {rate:.0%}"] = {program: float(np.mean(t)) for program, t in times.items()}
            print(table_of(here, programs), flush=True)
            print("seconds of a fit:", seconds[f"{name} {rate:.0%}"], flush=True)
    if cells:
        print("all:", table_of(cells, programs).split("\n", 1 + 2 * len(cells))[-1])
    if options.json:
        options.json.write_text(as_json(options, programs, seconds, cells))


def as_json(options: argparse.Namespace, programs: list[str], seconds: dict[str, Any], cells: dict[str, Any]) -> str:
    """A line per cell."""
    versions = {"mmppl": mmppl.__version__, "torch": torch.__version__}
    head = {"programs": programs, "valid": options.valid, "versions": versions, "trial": trial(options)}
    lines = [f" {json.dumps(name)}: {json.dumps(rounded(found))}" for name, found in cells.items()]
    body = ",\n".join(lines)
    top = json.dumps({**head, "seconds": rounded(seconds)})[:-1]
    return f'{top}, "cells": {{\n{body}\n}}}}\n'


def trial(options: argparse.Namespace) -> dict[str, Any]:
    """What was not left at its default."""
    named = {"set": options.set, "likelihood": options.likelihood, "steps": options.steps, "folds": options.folds}
    return {key: value for key, value in named.items() if value}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
