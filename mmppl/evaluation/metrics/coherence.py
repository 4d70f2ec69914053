"""Whether a trained classifier finds the given class in what is generated."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...core.program import Program
from ...core.roles import class_label, generates
from ..coherence import classifier_accuracy, classifiers, coherence, joint_coherence
from ..conditioning import has_all, set_name
from ..registry import family
from ..study import Study


@family("coherence")
class Coherence:
    """coherence.X from each conditioning set, coherence_joint of draws from the prior, and judge_accuracy.X, the
    accuracy of the classifiers."""

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List coherence.X and judge_accuracy.X of all generated modalities, and coherence_joint, if there is a class
        label."""
        names = generates(program) if class_label(program) else []
        joint = ["coherence_joint"] if len(names) > 1 and program.can_answer([]) is None else []
        return [*(f"coherence.{name}" for name in names), *joint, *(f"judge_accuracy.{name}" for name in names)]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Train the classifiers that are needed, or load them, and compute what is wanted."""
        program, label, train = study.program, study.label, study.whole_train
        every, joint = generates(program), "coherence_joint" in wanted
        named = [n for n in every if joint or {f"coherence.{n}", f"judge_accuracy.{n}"} & {*wanted}]
        if label is None or train is None or not named:
            return {}
        trained = classifiers(program, named, label, train, log=study.log)
        right = classifier_accuracy(program, study.test, trained, label)
        found: dict[str, Any] = {f"judge_accuracy.{name}": share for name, share in right.items()}
        for name, share in right.items():
            study.log(f"the classifier of {name} finds {label.name} in {share:.2%} of the rows' own values")
        for given in study.sets:
            asked = {n: network for n, network in trained.items() if n not in given and f"coherence.{n}" in wanted}
            if asked:
                n = int(has_all(study.test, given).sum())
                study.log(f"coherence of {', '.join(asked)} given {set_name(given)}: {n:,} rows")
            for name, share in coherence(study.model, study.test, given, asked, label, study.seed).items():
                found.setdefault(f"coherence.{name}", {})[set_name(given)] = share
        if joint and len(trained) == len(every):
            found["coherence_joint"] = {set_name([]): joint_coherence(study.model, study.test, trained, study.seed)}
        return found
