"""Fit how good each budget is for a prompt: ridge regression on its words (Hoerl and Kennard, 1970).

The ridge is chosen by cross-validation, and so is the spread: residuals of prompts that a fit has not seen, so that
what it learnt by heart does not make floors look safer than they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schedules.evidence import SHARES
from schedules.prompt_curves import PromptCurves, Regression, Spread, words_of
from schedules.search.evaluate import tolerance_limit
from schedules.table import FloatArray

_RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_FOLDS = 8
_LEAST = 5  # prompts that must have a word for it to count
_MOST = 500  # words
_TELLS = 0.02  # mean share of a quality's variance, below which choosing by the words is choosing by chance
_ALIKE = 1e-12  # a variance that is none


@dataclass(frozen=True, slots=True, eq=False)
class PromptErrors:
    """What was measured of one picture for each prompt and budget.

    Attributes:
        prompts: M of them.
        steps: K budgets.
        psnr_db: shape (M, K).
        quality: shape (M, K), whose mean over many is the quality; None where nobody measured it.
        single: whether the quality is of single pictures, as SSIM is and a task score is not.
    """

    prompts: tuple[str, ...]
    steps: tuple[int, ...]
    psnr_db: FloatArray
    quality: FloatArray | None = None
    single: bool = False


def fit_prompts(errors: PromptErrors, *, seed_offset: int = 0) -> PromptCurves:
    """The curves of a schedule's budgets as functions of the words.

    Args:
        errors: what was measured.
        seed_offset: the first seed, for the record.

    Raises:
        ValueError: fewer prompts than folds.
    """
    count = len(errors.prompts)
    if count < _FOLDS:
        raise ValueError(f"seeds: a fit takes at least {_FOLDS} prompts, there are {count}")
    words, folds = _vocabulary(errors.prompts), _folds(errors.prompts)
    present = _presence(errors.prompts, words)
    psnr_db, left_db = _regression(present, errors.psnr_db, folds)
    quality, left = (None, None) if errors.quality is None else _regression(present, errors.quality, folds)
    if quality is not None and np.mean(quality.explained) < _TELLS:
        quality, left = None, None
    return PromptCurves(
        steps=errors.steps,
        words=words,
        psnr_db=psnr_db,
        kept_psnr_db=_spreads(left_db),
        quality=quality,
        kept_ssim=_spreads(left) if left is not None and errors.single else (),
        seeds=count,
        seed_offset=seed_offset,
    )


def _vocabulary(prompts: Sequence[str]) -> tuple[str, ...]:
    """The words that enough prompts have; one that all have tells nothing, but is known."""
    counts = Counter(word for prompt in prompts for word in words_of(prompt))
    return tuple(sorted(word for word, number in counts.most_common(_MOST) if number >= _LEAST))


def _presence(prompts: Sequence[str], words: Sequence[str]) -> FloatArray:
    has = [set(words_of(prompt)) for prompt in prompts]
    return np.array([[float(word in each) for word in words] for each in has]).reshape(len(prompts), -1)


def _solve(present: FloatArray, target: FloatArray, ridge: float) -> tuple[FloatArray, FloatArray]:
    """Weights of the words, shape (V, K), and what is left without any, shape (K,)."""
    mean, level = present.mean(0), target.mean(0)
    centred = present - mean
    weights = np.linalg.solve(centred.T @ centred + ridge * np.eye(present.shape[1]), centred.T @ (target - level))
    return weights, level - mean @ weights


def _folds(prompts: Sequence[str]) -> NDArray[np.int64]:
    """Of each prompt, equal ones in the same, shape (M,)."""
    number = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    return np.array([number[prompt] % _FOLDS for prompt in prompts])


def _left(present: FloatArray, target: FloatArray, folds: NDArray[np.int64], ridge: float) -> FloatArray:
    """Residuals of prompts that were left out, shape (M, K)."""
    left = np.empty_like(target)
    for fold in np.unique(folds):
        out = folds == fold
        weights, none = _solve(present[~out], target[~out], ridge)
        left[out] = target[out] - none - present[out] @ weights
    return left


def _unexplained(present: FloatArray, target: FloatArray, folds: NDArray[np.int64], ridge: float) -> float:
    """Share of the variance that is left, the mean over budgets."""
    variance = np.maximum(target.var(0), _ALIKE)
    return float((np.square(_left(present, target, folds, ridge)).mean(0) / variance).mean())


def _regression(present: FloatArray, target: FloatArray, folds: NDArray[np.int64]) -> tuple[Regression, FloatArray]:
    """The fit with the ridge that tells most of prompts left out, and what it leaves of these, shape (M, K)."""
    ridge = min(_RIDGES, key=lambda each: _unexplained(present, target, folds, each))
    weights, none = _solve(present, target, ridge)
    left = _left(present, target, folds, ridge)
    variance = target.var(0)
    # Where all pictures are alike there is nothing to tell, which must not count as told.
    explained = np.where(variance > _ALIKE, 1 - np.square(left).mean(0) / np.maximum(variance, _ALIKE), 0.0)
    regression = Regression(
        none=tuple(none.tolist()),
        each=tuple(map(tuple, weights.tolist())),
        explained=tuple(explained.tolist()),
        ridge=ridge,
    )
    return regression, left


def _spreads(left: FloatArray) -> tuple[Spread, ...]:
    known = ((share, [tolerance_limit(column, share) for column in left.T]) for share in SHARES)
    return tuple(
        Spread(by=share, offsets=tuple(offset for offset in offsets if offset is not None))
        for share, offsets in known
        if None not in offsets
    )
