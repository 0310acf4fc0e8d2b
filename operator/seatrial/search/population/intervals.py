"""How a training is divided into the intervals of a population."""

__all__ = ["default_interval", "generations"]


def generations(max_step: int, interval: int) -> int:
    """Return how many intervals a training has; the last one may be shorter."""
    return -(-max_step // interval)


def default_interval(max_step: int) -> int:
    """Return the interval of a study that names none: a tenth of the training."""
    return max(1, max_step // 10)
