"""The schedulers: the parameters of each, and the torch.optim.lr_scheduler call that builds it.

To add one: write a function from `ScheduleInputs` to `TorchCall` and enter it in SCHEDULERS. `lr`
is always the peak. `final`, `base` and the factors of `piecewise` are shares of the peak, so a
scheduler keeps its shape when the peak changes.
"""

from __future__ import annotations

from itertools import pairwise

from lrsearch.errors import UserError
from lrsearch.measures import mode_of
from lrsearch.parameters.durations import Duration
from lrsearch.parameters.formula import Formula
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry
from lrsearch.schedules.own import own_call
from lrsearch.schedules.plan import ScheduleInputs, StepFunction, TorchCall


def _constant(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall("ConstantLR", {"factor": 1.0, "total_iters": 0})


def _step(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "StepLR", {"step_size": inputs.in_steps(inputs["step_size"]), "gamma": inputs["gamma"]}
    )


def _multistep(inputs: ScheduleInputs) -> TorchCall:
    milestones = sorted(max(1, inputs.moment(when)) for when in inputs["milestones"])
    return TorchCall("MultiStepLR", {"milestones": milestones, "gamma": inputs["gamma"]})


def _exponential(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "ExponentialLR", {"gamma": inputs["gamma"] ** (1 / inputs.in_steps(inputs["every"]))}
    )


def _cosine(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "CosineAnnealingLR", {"T_max": inputs.steps, "eta_min": inputs.lr * inputs["final"]}
    )


def _cosine_restarts(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "CosineAnnealingWarmRestarts",
        {
            "T_0": inputs.in_steps(inputs["T_0"]),
            "T_mult": inputs["T_mult"],
            "eta_min": inputs.lr * inputs["final"],
        },
    )


def _linear(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "LinearLR",
        {"start_factor": 1.0, "end_factor": inputs["final"], "total_iters": inputs.steps},
    )


def _polynomial(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall("PolynomialLR", {"total_iters": inputs.steps, "power": inputs["power"]})


def _plateau(inputs: ScheduleInputs) -> TorchCall:
    monitor = inputs["monitor"]
    mode = mode_of(monitor) if inputs["mode"] == "auto" else inputs["mode"]
    if mode is None:
        raise UserError(
            f"plateau.mode: the name {monitor} does not say whether more of it is better: "
            f"give min or max"
        )
    return TorchCall(
        "ReduceLROnPlateau",
        {
            "mode": mode,
            "factor": inputs["factor"],
            # torch cuts after more than `patience` bad evaluations.
            "patience": inputs.length.in_evaluations(Duration.parse(inputs["patience"])),
            "threshold": inputs["threshold"],
            "cooldown": inputs["cooldown"],
            "min_lr": inputs.lr * inputs["final"],
            "eps": 0.0,
        },
        monitor=monitor,
    )


def _of_step(inputs: ScheduleInputs, name: str) -> str:
    """The formula of a parameter as Python source in the scheduler's `step` alone."""
    formula, length = Formula(str(inputs[name])), inputs.length
    if "epoch" in formula.names:
        length.require_epochs(f"the formula {formula.source!r}")
    if "step" in formula.names:
        length.require_steps(f"the formula {formula.source!r}")
    return formula.of_step(length.steps_per_epoch, length.steps, offset=inputs.warmup_steps)


def _lambda(inputs: ScheduleInputs) -> TorchCall:
    source = _of_step(inputs, "formula")
    # A negative rate would increase the loss: it counts as zero, and so does NaN.
    return TorchCall("LambdaLR", {"lr_lambda": StepFunction(f"max(0.0, {source})")})


def _multiplicative(inputs: ScheduleInputs) -> TorchCall:
    source = _of_step(inputs, "factor")
    every = inputs.in_steps(inputs["every"])
    return TorchCall(
        "MultiplicativeLR",
        {"lr_lambda": StepFunction(f"max(0.0, {source}) if step % {every} == 0 else 1.0")},
    )


def _cyclic(inputs: ScheduleInputs) -> TorchCall:
    up, down = inputs.in_steps(inputs["step_size_up"]), inputs.in_steps(inputs["step_size_down"])
    return TorchCall(
        "CyclicLR",
        {
            "base_lr": inputs.lr * inputs["base"],
            "max_lr": inputs.lr,
            "step_size_up": up,
            "step_size_down": down,
            "mode": inputs["mode"],
            "gamma": inputs["gamma"] ** (1 / (up + down)),
            "cycle_momentum": False,
        },
    )


def _one_cycle(inputs: ScheduleInputs) -> TorchCall:
    return TorchCall(
        "OneCycleLR",
        {
            "max_lr": inputs.lr,
            # torch counts rates, not steps: the rate after the last step is one more, and the
            # peak is at rate pct_start * total_steps - 1.
            "total_steps": inputs.steps + 1,
            "pct_start": (inputs["pct_start"] * inputs.steps + 1) / (inputs.steps + 1),
            "anneal_strategy": inputs["anneal_strategy"],
            "div_factor": inputs["div_factor"],
            "final_div_factor": inputs["final_div_factor"],
            "cycle_momentum": False,
        },
    )


_DECAY_SHAPES = {
    "linear": "(1 - {x})",
    "cosine": "((1 + cos(pi * {x})) / 2)",
    "sqrt": "(1 - sqrt({x}))",
}


def _wsd(inputs: ScheduleInputs) -> TorchCall:
    decay = min(inputs.in_steps(inputs["decay"]), inputs.steps)
    stable = inputs.steps - decay
    shape = _DECAY_SHAPES[inputs["shape"]].format(x=f"min(1.0, (step - {stable}) / {decay})")
    final = inputs["final"]
    decayed = shape if final == 0 else f"{final!r} + {1 - final!r} * {shape}"
    return TorchCall(
        "LambdaLR", {"lr_lambda": StepFunction(f"1.0 if step <= {stable} else {decayed}")}
    )


def _inverse_sqrt(inputs: ScheduleInputs) -> TorchCall:
    scale = inputs.in_steps(inputs["timescale"])
    return TorchCall("LambdaLR", {"lr_lambda": StepFunction(f"sqrt({scale} / ({scale} + step))")})


def _piecewise(inputs: ScheduleInputs) -> TorchCall:
    points = [(inputs.moment(when), float(factor)) for when, factor in inputs["points"]]
    # Points at the same step keep their order: the rate jumps there from the first to the last.
    points.sort(key=lambda point: point[0])
    source = repr(points[-1][1])
    for (start, before), (end, after) in reversed(list(pairwise(points))):
        if end > start:
            slope = f"{before!r} + {after - before!r} * (step - {start}) / {end - start}"
            source = f"{slope} if step < {end} else {source}"
    source = f"{points[0][1]!r} if step < {points[0][0]} else {source}"
    return TorchCall("LambdaLR", {"lr_lambda": StepFunction(f"max(0.0, {source})")})


_FINAL = Parameter("float", 0.0, 0.0, 1.0, help="last rate as a share of the peak")
_GAMMA = Parameter("float", 0.1, 0.0, 1.0, open_low=True, help="factor of each cut")
_EVERY = Parameter("duration", "1ep", help="how often the factor is applied")

SCHEDULERS = Registry(
    "scheduler",
    [
        Component("constant", _constant, {}, "the peak rate throughout: the baseline"),
        Component(
            "step",
            _step,
            {"step_size": Parameter("duration", 0.3, help="time between cuts"), "gamma": _GAMMA},
            "cut by gamma every step_size",
        ),
        Component(
            "multistep",
            _multistep,
            {
                "milestones": Parameter("durations", (0.5, 0.75), help="when to cut"),
                "gamma": _GAMMA,
            },
            "cut by gamma at each milestone",
        ),
        Component(
            "exponential",
            _exponential,
            {
                "gamma": Parameter(
                    "float", 0.95, 0.0, 1.0, open_low=True, help="factor per `every`"
                ),
                "every": _EVERY,
            },
            "smooth exponential decay, by gamma in each `every`",
        ),
        Component("cosine", _cosine, {"final": _FINAL}, "half a cosine from the peak to final"),
        Component(
            "cosine_restarts",
            _cosine_restarts,
            {
                "T_0": Parameter("duration", 0.25, help="length of the first cosine"),
                "T_mult": Parameter("int", 2, 1, 10, help="each cosine is so many times longer"),
                "final": _FINAL,
            },
            "cosines that start again at the peak",
        ),
        Component("linear", _linear, {"final": _FINAL}, "straight line from the peak to final"),
        Component(
            "polynomial",
            _polynomial,
            {"power": Parameter("float", 2.0, 0.0, 20.0, open_low=True, help="exponent")},
            "(1 - progress) ** power",
        ),
        Component(
            "plateau",
            _plateau,
            {
                "factor": Parameter(
                    "float", 0.1, 0.0, 0.99, open_low=True, help="factor of each cut"
                ),
                "patience": Parameter(
                    "duration", "10ep", help="time without improvement before a cut"
                ),
                "threshold": Parameter("float", 1e-4, 0.0, 1.0, help="relative gain that counts"),
                "cooldown": Parameter("int", 0, 0, help="evaluations to wait after a cut"),
                "final": _FINAL,
                "monitor": Parameter("text", "val_loss", help="the metric that is watched"),
                "mode": Parameter(
                    "choice",
                    "auto",
                    choices=("auto", "min", "max"),
                    help="what is better; auto: as the metric's name says",
                ),
            },
            "cut by factor when the validation loss stops improving",
        ),
        Component(
            "lambda",
            _lambda,
            {"formula": Parameter("formula", "1 - progress", help="share of the peak")},
            "a formula of epoch and progress, times the peak",
        ),
        Component(
            "multiplicative",
            _multiplicative,
            {"factor": Parameter("formula", "0.95", help="formula of the factor"), "every": _EVERY},
            "the rate is multiplied by factor every `every`",
        ),
        Component(
            "cyclic",
            _cyclic,
            {
                "base": Parameter(
                    "float", 0.1, 0.0, 1.0, help="lowest rate as a share of the peak"
                ),
                "step_size_up": Parameter("duration", 0.1, help="time from base to peak"),
                "step_size_down": Parameter("duration", 0.1, help="time from peak to base"),
                "mode": Parameter(
                    "choice",
                    "triangular",
                    choices=("triangular", "triangular2", "exp_range"),
                    help="what becomes of the peak from cycle to cycle",
                ),
                "gamma": Parameter(
                    "float",
                    0.5,
                    0.0,
                    1.0,
                    open_low=True,
                    help="exp_range: factor of the peak per cycle",
                ),
            },
            "up and down between base and peak",
        ),
        Component(
            "one_cycle",
            _one_cycle,
            {
                "pct_start": Parameter(
                    "float", 0.3, 0.01, 0.99, help="share of training spent rising"
                ),
                "anneal_strategy": Parameter(
                    "choice", "cos", choices=("cos", "linear"), help="shape"
                ),
                "div_factor": Parameter("float", 25.0, 1.0, help="peak over first rate"),
                "final_div_factor": Parameter("float", 1e4, 1.0, help="first rate over last rate"),
            },
            "up to the peak, then down far below the start",
        ),
        Component(
            "wsd",
            _wsd,
            {
                "decay": Parameter("duration", 0.2, help="length of the decay at the end"),
                "shape": Parameter(
                    "choice", "linear", choices=tuple(_DECAY_SHAPES), help="its shape"
                ),
                "final": _FINAL,
            },
            "warm-up (if any), stable, then decay",
        ),
        Component(
            "inverse_sqrt",
            _inverse_sqrt,
            {
                "timescale": Parameter(
                    "duration", 0.05, help="time after which the rate is 1/sqrt(2)"
                )
            },
            "1 / sqrt of time",
        ),
        Component(
            "piecewise",
            _piecewise,
            {
                "points": Parameter(
                    "points",
                    ((0, 1.0), (0.5, 1.0), (1, 0.0)),
                    help="[when, share of the peak], ...",
                )
            },
            "straight lines between points given by hand",
        ),
    ],
    where="space.scheduler",
    leading=1,
)


def call_of(config: ComponentConfig, inputs: ScheduleInputs) -> TorchCall:
    """The torch scheduler and arguments for a scheduler of a recipe.

    Raises UserError if the scheduler cannot be built from these inputs.
    """
    if config.target is not None:
        return own_call(config.target, config.durations, inputs)
    call: TorchCall = SCHEDULERS[config.name].load()(inputs)
    return call
