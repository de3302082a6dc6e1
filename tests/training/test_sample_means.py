"""The values of losses and metrics on single samples."""

from __future__ import annotations

import pytest
import torch

from lrsearch.measures import LOSSES, METRICS
from lrsearch.measures.build import build
from lrsearch.registry import ComponentConfig
from lrsearch.training.sample_means import EachSample, grouped

CLASSES = torch.randint(3, (20,), generator=torch.Generator().manual_seed(0))
NUMBERS = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
LABELS = (NUMBERS > 0.3).float()
OUTPUTS = {
    "classes": torch.randn(20, 3, generator=torch.Generator().manual_seed(2)),
    "numbers": torch.randn(20, 4, generator=torch.Generator().manual_seed(3)),
}
EVERY = [(registry, name) for registry in (LOSSES, METRICS) for name in registry]


@pytest.mark.parametrize(("registry", "name"), EVERY, ids=[name for _, name in EVERY])
def test_every_measure_of_the_catalogue_is_the_mean_of_its_values_on_samples(
    registry: object, name: str
) -> None:
    measure = build(ComponentConfig(name), registry, "here")  # type: ignore[arg-type]
    of_classes = registry[name].of in ("classes", "both")  # type: ignore[index]
    outputs = OUTPUTS["classes" if of_classes else "numbers"]
    is_of_labels = "label" in name or "f1" in name or "bce" in name
    targets = CLASSES if of_classes else LABELS if is_of_labels else NUMBERS
    each = EachSample(measure)
    parts = [each(outputs[:15], targets[:15]) * 15, each(outputs[15:], targets[15:]) * 5]
    value = float(sum(parts)) / 20
    found = each.sample_means(value, name, 20)
    assert found.unknown is None
    by_hand = [float(measure(outputs[k : k + 1], targets[k : k + 1])) for k in range(len(outputs))]
    assert found.means == pytest.approx(by_hand, rel=1e-5, abs=1e-6)


def test_the_value_of_a_batch_is_that_of_the_measure_itself() -> None:
    measure = build(ComponentConfig("cross_entropy"), LOSSES, "train.loss")
    outputs = OUTPUTS["classes"]
    assert torch.equal(EachSample(measure)(outputs, CLASSES), measure(outputs, CLASSES))


def own_macro_f1(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A metric of the user's that is no mean over samples."""
    found = outputs.argmax(1)
    scores = []
    for label in range(outputs.shape[1]):
        both = ((found == label) & (targets == label)).sum()
        scores.append(2 * both / ((found == label).sum() + (targets == label).sum()).clamp(min=1))
    return torch.stack(scores).mean()


def own_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A metric of the user's that looks at values, which is the mean of those of samples."""
    wrong = [float(int(output.argmax()) != int(target)) for output, target in
             zip(outputs, targets, strict=True)]  # fmt: skip
    return torch.tensor(wrong).mean()


def own_correlation(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A metric of the user's that needs several samples."""
    if len(outputs) < 2:
        raise ValueError("one sample has no correlation")
    return torch.corrcoef(torch.stack([outputs[:, 0], targets.float()]))[0, 1]


@pytest.mark.parametrize("own", [own_macro_f1, own_correlation])
def test_a_metric_that_is_no_mean_over_samples_is_recognised(own: object) -> None:
    each = EachSample(own)  # type: ignore[arg-type]
    value = float(each(OUTPUTS["classes"], CLASSES))
    found = each.sample_means(value, "val_own", 20)
    assert found.unknown == "val_own is not a mean over samples"
    assert (found.count, found.means) == (20, ())


def test_a_metric_of_the_users_own_may_look_at_values() -> None:
    each = EachSample(own_error)
    value = float(each(OUTPUTS["classes"], CLASSES))
    found = each.sample_means(value, "val_own", 20)
    wrong = OUTPUTS["classes"].argmax(1) != CLASSES
    assert found.means == tuple(wrong.float().tolist())


def test_many_samples_are_put_into_equal_groups_that_tell_the_same_error() -> None:
    values = torch.randn(30_000, generator=torch.Generator().manual_seed(4)).double() + 1.0
    values, _ = values.sort()  # such as a part that is sorted by class
    means = torch.tensor(grouped(values), dtype=torch.float64)
    assert len(means) == 500
    assert float(means.mean()) == pytest.approx(float(values.mean()), abs=1e-6)
    of_mean = float(values.std()) / 30_000**0.5
    assert float(means.std()) / 500**0.5 == pytest.approx(of_mean, rel=0.1)
    assert grouped(values) == grouped(values)
    assert len(grouped(values[:1101])) == 367  # groups of three
    few = values[:400]
    assert grouped(few) == pytest.approx(few.tolist(), rel=1e-6)
