"""What a training cost and how it went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrainingReport:
    """What training cost and how it went.

    Attributes:
        steps: Steps taken.
        images: Images presented.
        seconds: Wall time, that of interrupted runs up to their last epoch checkpoint included.
        curves: Term of the loss -> [(step, mean over the epoch that ends there), ...].
        flops: Operations of all of it, those of the steps scaled up from a sample.
        backward: Those of them that computed gradients.
        core_seconds: What the process took of the processors meanwhile, which other work on the machine hardly moves.
        outside: Those of ``backward`` that no step of the loop asked for.
        own_steps: In how many of the losses that were watched, a sample, the weights had changed: steps of its own.
        shares: Of each step that was counted, how long it took where nobody counted, as a share of its dry run's time.
        lingered: Core-seconds by which single steps took longer than most do, as ``counting.lingered``.
        elsewhere: Core-seconds between all that is counted or is a step of the loop.
    """

    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    flops: int = 0
    backward: int = 0
    core_seconds: float = 0.0
    outside: int = 0
    own_steps: int = 0
    lingered: float = 0.0
    elsewhere: float = 0.0
    shares: list[float] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """The training rate."""
        return self.images / self.seconds if self.seconds else 0.0
