"""Fit a program to data: in memory, or into a run folder that a killed fit goes on from."""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from .. import __version__
from ..base.choices import Gradients
from ..base.files import sha256
from ..base.parsing import names as names_in
from ..base.precision import matmul_precision, probe_matmul
from ..base.turns import others_turn, own_settings, threads_of
from ..core.loading import blame, default_program, load_program, source_of, use_file
from ..core.networks import check_networks
from ..core.program import Program
from ..core.stages import GradientRule
from ..data.dataset import Dataset
from ..data.examine.report import short_report
from ..data.read import read
from ..data.recipes.registry import spec_of
from ..errors import DataError, FitError, MMPPLError, UsageError
from ..kernels.codegen.c_backend import available, compiled_kernels
from ..objectives.added.registry import TermSpec, add, specs_of
from ..runs.record import PROGRAM, DataRecord, ProgramRecord, RunRecord, UsedFile
from ..runs.run import Run
from ..runs.storage import begin_folder, clear_folder, locked, make_folder
from .budget.rule import resolve
from .calibration.after_selection import Calibrator
from .callbacks import Callback, Card, Checkpoint, LabelErrors, MetricsLog, Report, RunFiles, Weights
from .checkpoint import has_state, load_state, sweep
from .gradients import name_of_rule
from .loop import Progress, Training
from .settings import FitSettings, choose_device, settings_for
from .stages.shared_latents import check_shared_latents
from .threads import check_threads, choose_threads, on_threads

FULL = {  # kinds of error that leave no room for a file
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your share of the disk is full. Free some space",
    errno.EFBIG: "a file would exceed the limit of its size (ulimit -f). Raise it",
}


def fit(
    program: type[Program] | str | Path | None = None,
    data: Any = None,
    *,
    hyper: Mapping[str, Any] = {},
    terms: Sequence[str | TermSpec] = (),
    preset: str | Path | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    schedule: Literal["cosine", "constant"] | None = None,
    clip: float | None = None,
    patience: int | None = None,
    validation: float | None = None,
    folds: int | None = None,
    refit: bool | None = None,
    calibrate: bool | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] | str = "auto",
    precision: Literal["fp32", "bf16"] | None = None,
    gradients: Gradients | None = None,
    threads: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    gradient_rule: GradientRule | None = None,
    on_step: Callable[[Progress], None] | None = None,
    log: Callable[[Any], None] | None = None,
    root: str | Path | None = None,
    as_: Mapping[str, Any] = {},
    hide: float = 0.0,
    hide_cells: float = 0.0,
    download: bool = False,
    use: Sequence[str | Path] = (),
    missing: Mapping[str, Sequence[Any]] = {},
    target: str | Sequence[str] | None = None,
    strict: bool = False,
) -> Run:
    """Fit a program. Same seed, machine and call: the same bits, killed and resumed or not.

    Args:
        program: a class, a file, or a name. None: the one for so many training rows (`Program.default_rows`).
        data: what `mmppl.read` takes, or a Dataset; default: the program's own recipe.
        hyper: hyper-parameters of the program, over those of the preset.
        terms: to add to the program's own, such as "tc.nwj:on=z,weight=0.1"; see `mmppl.TermSpec`.
        preset: a name in the program's `presets`, or a TOML file with [hyper] and [training].
        epochs: passes over the training rows, whose last weights are kept; default of this and the following: preset,
            then the program's `training`.
        steps: instead of epochs: gradient steps at most. The number that serves held-out rows best is taken, and where
            those rows were drawn here, all rows are then fitted for as many steps. Default, where nobody names epochs:
            by a rule from rows and parameters (`mmppl.train.budget.rule`).
        batch_size: rows per step; default with epochs: 128, else by that rule.
        lr: learning rate of the groups of parameters that name none.
        schedule: of the learning rate over each stage.
        clip: bound of the norm of each group's gradient.
        patience: stop after so many epochs without a better validation loss, and keep the best epoch's weights.
        validation: share to hold out of the rows that are no test rows, where the data bring no validation rows of
            their own; 0: nothing is held out, and all steps are taken. Default: the validation rows that were drawn
            when the data were read, a tenth; with few rows they are held out in folds.
        folds: number of the folds that are held out in turn to choose the number of steps. Default: 5 where there are
            fewer than 200 rows and a refit follows, else 1, the validation rows alone.
        refit: whether all rows that are no test rows are then fitted for that number. Default: if the data did not
            bring the rows that it was chosen on as validation rows.
        calibrate: whether validation rows calibrate the answers (`mmppl.train.calibration`), as by default.
        seed: of all random draws.
        device: "auto" is the GPU where there is a usable one.
        precision: "bf16" runs the networks under autocast.
        gradients: rule that combines the gradients of decoders that share a latent, where they meet: norm, pcgrad,
            imtl, graddrop, mgda or cagrad (`mmppl.combine_gradients`). Default: their sum.
        threads: of the processor; other numbers give other bits. None: see `mmppl.train.threads`.
        out: the run folder; None: everything stays in memory, until `save` of the run.
        resume: go on where a killed fit in `out` stopped.
        callbacks: of one's own, called at each step and epoch.
        gradient_rule: combines the gradients of single terms, where a group has no rule of its own.
        on_step: receives a Progress after each step.
        log: receives that too, and one-line messages (str).
        root: passed to `mmppl.read`, as are `as_`, `download`, `missing`, `target` and `strict`.
        as_: name → likelihood, or columns; as of `read`.
        hide: share of the modalities to hide at random (seeded).
        hide_cells: share of the single cells to hide (seeded), which are then scored; of a Dataset, whose scales stay.
        download: let a recipe fetch its files.
        use: Python files that register likelihoods, readers, recipes, metrics or figures; their hashes are stored.
        missing: name → the values that stand for "missing".
        target: the labels; everything else is an input.
        strict: refuse data in which something is suspected.

    Returns:
        the run.

    Raises:
        UsageError: a setting, hyper-parameter, term, group or stage is wrong, or the program's own code fails.
        DataError: the data cannot be used, or a state is damaged.
        LockedError: another fit writes this run.
        FitError: a loss is not finite, or the disk is full.

    Example:
        >>> import mmppl
        >>> run = mmppl.fit("mvae", "digits-three", hyper={"hidden": 8, "layers": 1}, epochs=1)
        >>> run.folder is None, sorted(run.summary()["terms"])[:2]
        (True, ['cross.image', 'cross.profile'])
    """
    used = tuple(UsedFile(Path(file).name, use_file(file)) for file in use)

    def inform(message: str) -> None:
        if log is not None:
            with others_turn():
                log(message)

    how: dict[str, Any] = dict(root=root, as_=as_, hide=hide, hide_seed=seed, download=download)
    how |= dict(missing=missing, target=target, strict=strict, hide_cells=hide_cells)
    dataset = None
    if program is None:
        if data is None:
            raise UsageError("fit: name a program or data; for data alone, one is chosen.")
        dataset = read(data, **how)
        program, why = default_program(len(dataset.rows("train")), dataset.modalities)
        inform(why)
    cls = load_program(program)
    added = specs_of(terms)
    hyper, settings = settings_for(
        cls, hyper, preset, epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, schedule=schedule, clip=clip,
        patience=patience, validation=validation, folds=folds, refit=refit, calibrate=calibrate,
        precision=precision, gradients=gradients, seed=seed, device=device,
    )  # fmt: skip
    if gradient_rule is not None:
        settings = dataclasses.replace(settings, gradient_rule=name_of_rule(gradient_rule))
    place = choose_device(device)
    check_threads(threads)
    spec = data if data is not None else cls.default_data
    if dataset is None:
        dataset = read(spec, **how)
    described = DataRecord(
        spec=spec_of(spec),
        name=dataset.name,
        n=len(dataset),
        **dataset.fingerprints(),  # type: ignore[arg-type]
        root=os.path.abspath(root) if root else None,
        declared={**as_, **dataset.declared},  # the names of columns as text
        hide=hide,
        hide_cells=hide_cells,
        target=None if target is None else tuple(names_in(target)),
    )
    source = source_of(cls)
    path = None if out is None else Path(out)
    if resume and path is None:
        raise UsageError("resume: name the run folder to go on with, out=RUN.")
    listeners = [listener for listener in (log, on_step) if listener is not None]
    own = [*callbacks, *([Report(*listeners)] if listeners else [])]
    devices = [torch.cuda.current_device()] if place.type == "cuda" else []
    with own_settings(), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        with _blaming(cls):  # what the program refuses, it refuses before there is a folder
            made = cls(dataset.modalities, **hyper).to(place)
        check_networks(cls, hyper, dataset.modalities, inform)
        named = ProgramRecord(_name_of(program, cls), sha256(source))
        settings = resolve(settings, made, dataset)
        computed = choose_threads(threads, made, settings.batch_size or len(dataset), len(dataset))
        record = _record(named, hyper, settings, dataset, described, place, computed)
        record = dataclasses.replace(record, use=used, terms=tuple(map(str, added)))
        with _blaming(cls):  # a term that the program cannot have is refused before there is a folder, too
            first = dataset.batch(dataset.rows("train")[:2], made.encoded)
            add(made, added, first, seed)
            check_shared_latents(made, first, settings, inform)
        with _folder(path, resume), _blaming(cls):
            if path is not None:
                record = begin_folder(path, record, source, resume)
            if path is not None and record.status == "done":
                run = Run.load(path, program=cls)
                run.fitted_on = dataset
                return run
            record = on_threads(record, threads, inform)
            for line in short_report(dataset):
                inform(line)
            files = RunFiles(path, record)
            lines = _train(made, dataset, files, own, gradient_rule, inform)
    return Run(made.cpu(), files.record, folder=path, data=dataset, history=lines)


def _record(
    program: ProgramRecord,
    hyper: dict[str, Any],
    settings: FitSettings,
    dataset: Dataset,
    data: DataRecord,
    device: torch.device,
    threads: int,
) -> RunRecord:
    """What a run says of itself when it begins."""
    on_cpu = device.type == "cpu"
    versions = {name: version(name) for name in ("torch", "pyro-ppl", "numpy")}
    return RunRecord(
        program=program,
        hyper=hyper,
        training=settings.to_json(),
        modalities=dataset.modalities,
        data=data,
        seed=settings.seed,
        threads=threads,
        gemm=probe_matmul() if on_cpu else "default",
        kernels="compiled" if on_cpu and available() else "pytorch",
        device="cpu" if on_cpu else torch.cuda.get_device_name(device),
        versions=versions | {"python": platform.python_version()},
        status="running",
        sha256={PROGRAM: program.sha256},
        logged=0,
        mmppl=__version__,
        id=secrets.token_hex(16),
    )


def _train(
    program: Program,
    dataset: Dataset,
    files: RunFiles,
    callbacks: Sequence[Callback],
    rule: GradientRule | None,
    log: Callable[[Any], None],
) -> list[Mapping[str, Any]]:
    """Train to the end, in the circumstances that the record names. The caller's threads are left as they were.

    Returns:
        the lines of metrics.jsonl.
    """
    record, folder = files.record, files.folder
    compiled = record.kernels == "compiled"
    if compiled and not available():
        log(f"{folder}: began with compiled kernels, and there is no C compiler now: it goes on to other bits.")
    settings = FitSettings.from_json(record.training, seed=record.seed)
    keeps = [Checkpoint(files)] if folder is not None else []
    every = [LabelErrors(), *callbacks, MetricsLog(files), Weights(files), *keeps, Card(files)]
    with threads_of(record.threads), matmul_precision(record.gemm), compiled_kernels(compiled):
        after = Calibrator(settings.seed) if settings.calibrate else None
        training = Training(program, dataset, settings, callbacks=every, rule=rule, log=log, after_selection=after)
        if after is not None:
            after.passed = training.steps * training.rows.batch_size
        files.record = dataclasses.replace(record, data=dataclasses.replace(record.data, unseen=training.unseen))
        if folder is not None and load_state(folder, program, training.restore):
            log(f"{folder}: goes on after epoch {training.counters.epoch}.")
        files.go_back(training.counters)
        training.run()
    program.zero_grad(set_to_none=True)
    return list(training.lines)


@contextmanager
def _folder(path: Path | None, resume: bool) -> Iterator[None]:
    """Make and hold a run folder; where nothing is learnt in it, the corrected command finds the place free.

    Args:
        path: None: there is none, and nothing is written.
        resume: the folder is there.
    """
    if path is None:
        yield
        return
    make_folder(path, resume)
    try:
        with locked(path):
            sweep(path)
            yield
    except (UsageError, DataError):
        if not resume and not (path / "state").exists():
            clear_folder(path)
        raise
    except FitError as error:
        kept = "The last good state is kept; choose" if has_state(path) else "Choose"
        raise FitError(f"{error} {kept} another --out.") from None
    except OSError as error:
        if error.errno in FULL:
            after = "nothing written before is lost" if has_state(path) else "nothing was learnt yet"
            raise FitError(f"{path}: {FULL[error.errno]} and go on with --resume; {after}.") from None
        raise


@contextmanager
def _blaming(cls: type[Program]) -> Iterator[None]:
    """Errors that the program's own code raises become a UsageError with file and line."""
    try:
        yield
    except (MMPPLError, OSError, MemoryError):
        raise
    except Exception as error:
        blamed = blame(error, cls)
        if blamed is None:
            raise
        raise blamed from error


def _name_of(program: type[Program] | str | Path, cls: type[Program]) -> str:
    return cls.__name__.lower() if isinstance(program, type) else Path(program).stem
