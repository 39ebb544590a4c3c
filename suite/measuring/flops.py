"""Floating-point operations of encoding and decoding one image, by torch's own formula for every operator."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from suite.data import Dataset
from suite.errors import TrialTimeout
from suite.measuring.trust import Frozen
from suite.seeds import global_seed

#: Images that are counted together: a model may treat a single one in a way of its own.
IMAGES = 4


def flops_per_image(model: Frozen, dataset: Dataset) -> int | None:
    """Counts the operations of encoding and decoding one image without noise, two per multiply-add.

    Args:
        model: The frozen baseline.
        dataset: Its first training images are what is encoded.

    Returns:
        The operations per image, or None where the model does not get so far.
    """
    return flops_of(model, dataset.train.grey[:IMAGES])


def flops_of(model: Frozen, images: Tensor) -> int | None:
    """Counts as ``flops_per_image`` does, on images (N, C, H, W)."""
    try:
        with _Counter() as counter, global_seed("flops"):
            model.decode(model.means(images))
    except TrialTimeout:
        raise
    except Exception:
        return None
    return counter.flops // len(images)


class _Counter(TorchDispatchMode):
    """Adds up what ``flop_registry`` has a formula for; all else, a sum or a sigmoid, counts nothing.

    The figures are those of torch's ``FlopCounterMode``, which also attributes them to modules and for that
    loads torch's compiler, a second or more of every worker's start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # there is nothing compiled in here that the compiler would have to be kept from

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:  # an operator that is made of others, where autograd has not taken it apart
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        self.flops += formula(*args, **kwargs, out_val=result)
        return result
