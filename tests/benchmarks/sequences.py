"""Labels of sequences: the default beside logistic regression on pooled features, and beside other networks.

    python tests/benchmarks/sequences.py watch --networks auto,mlp,gru
    python tests/benchmarks/sequences.py speech --root data

speech: data/fsdd/fsdd_recordings.zip as frames of 12 coefficients, without pooling.

Prints the error of the label given the series, on the test rows, of each network, and that of logistic regression on
the mean and the standard deviation of each feature over the steps that exist.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from pathlib import Path

import numpy as np
import torch

import mmppl

ACTIVITIES = 5


def watch(rows: int, seed: int = 0, channels: int = 4, steps: tuple[int, int] = (20, 100)) -> dict[str, np.ndarray]:
    """Draw movements as a smart watch has them: each activity has a rhythm and strengths of its channels, begins at any
    phase and lasts a while, and there is noise.

    Args:
        rows: how many.
        seed: of everything random.
        channels: F.
        steps: the fewest and the most steps.

    Returns:
        "watch" (N, T, F) with "length_watch", and "activity" under the name "label".
    """
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)  # the same for every seed
    rate = np.linspace(0.25, 0.9, ACTIVITIES)
    strength = world.uniform(0.3, 1.5, (ACTIVITIES, channels))
    lag, level = world.uniform(0, 6, (ACTIVITIES, channels)), 0.3 * world.normal(size=(ACTIVITIES, channels))
    label = rng.integers(0, ACTIVITIES, rows)
    length = rng.integers(steps[0], steps[1] + 1, rows)
    time_of = np.arange(steps[1])[None, :, None]
    speed = rate[label] * rng.normal(1, 0.08, rows)
    angle = speed[:, None, None] * time_of + lag[label][:, None] + rng.uniform(0, 2 * np.pi, (rows, 1, 1))
    grip = rng.normal(1, 0.25, (rows, 1, channels))
    series = grip * strength[label][:, None] * (np.sin(angle) + 0.3 * np.sin(2 * angle)) + level[label][:, None]
    series = series + 0.6 * rng.normal(size=series.shape) + 0.4 * rng.normal(size=(rows, 1, channels))
    return {"watch": series, "length_watch": length, "label": label}


def speech(root: Path, most: int = 60) -> dict[str, np.ndarray]:
    """Read spoken digits as frames of 12 coefficients, without pooling.

    Args:
        root: the folder that holds `fsdd/fsdd_recordings.zip`, with DIGIT_SPEAKER_NUMBER.wav.
        most: frames that are kept; longer recordings are cut.

    Returns:
        "speech" (N, T, 12) with "length_speech", "label", and "split": the recordings 0 to 4 of each digit and speaker
        are test rows, as the makers of the data propose.
    """
    from mmppl.data.readers.speech.mfcc import OF_IMA, levelled, mfcc, resampled
    from mmppl.data.readers.speech.wav import read_wav

    frames, label, split = [], [], []
    with zipfile.ZipFile(root / "fsdd" / "fsdd_recordings.zip") as archive:
        for file in sorted(name for name in archive.namelist() if name.endswith(".wav")):
            digit, _, number = Path(file).stem.split("_")
            samples, rate = read_wav(archive.read(file), file)
            signal = resampled(levelled(torch.as_tensor(samples, dtype=torch.float32)), rate, OF_IMA.rate)
            frames.append(mfcc(signal, OF_IMA)[:most].numpy())
            label.append(int(digit))
            split.append("test" if int(number) < 5 else "train")
    length = np.array([len(row) for row in frames])
    series = np.zeros((len(frames), most, frames[0].shape[1]), np.float32)
    for at, row in enumerate(frames):
        series[at, : len(row)] = row
    return {"speech": series, "length_speech": length, "label": np.array(label), "split": np.array(split)}


def pooled_error(data: mmppl.Dataset, name: str) -> float:
    """Compute the test error of logistic regression on mean and standard deviation over the steps."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    series, there = data.values[name].double().numpy(), data.present[name].numpy()
    count = there.sum(1)
    mean = (series * there).sum(1) / count
    spread = np.sqrt((np.square(series - mean[:, None]) * there).sum(1) / count)
    columns, label = np.concatenate([mean, spread], 1), data.values["label"].numpy()
    train, test = data.split != 2, data.split == 2
    found = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(columns[train], label[train])
    return float((found.predict(columns[test]) != label[test]).mean())


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("data", choices=["watch", "speech"])
    asked.add_argument("--networks", default="auto,mlp")
    asked.add_argument("--program", default="mvae")
    asked.add_argument("--rows", type=int, default=2000)
    asked.add_argument("--steps", type=int)
    asked.add_argument("--root", type=Path, default=Path("data"))
    given = asked.parse_args()
    arrays = watch(given.rows) if given.data == "watch" else speech(given.root)
    data = mmppl.read(arrays)
    print(
        f"{given.data}: {len(data)} rows, pooled logistic regression {pooled_error(data, given.data):.1%}", flush=True
    )
    for networks in given.networks.split(","):
        began = time.monotonic()
        run = mmppl.fit(given.program, data, hyper={"networks": networks}, steps=given.steps)
        found = mmppl.evaluate(run, metrics=["error.label"], conditioning_sets=[given.data])["metrics"]
        error = found["error.label"][given.data]
        print(f"{given.program} networks={networks}: {error:.1%} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
