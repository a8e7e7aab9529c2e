"""Another tail for a sampler that has begun: what was evaluated stays, all that comes after it may be anything.

A request that was given few steps may get more when nobody waits any more, and the other way about. After n evaluations
the rows up to them are past; x_n, all later rows and guidance weights, and after more than one evaluation their times,
are free. They descend (`newton`) with what is past held fixed, from the better of two tails:

* the aim's own rows, at times between those that were made and the end;
* the aim's own rows at its own times, from the second on, as if only the first evaluation had been made: every schedule
  begins with pure noise, so that nothing is lost but the evaluations after the first. Times may rise there, once.
"""

from __future__ import annotations

import numpy as np

from schedules.search.newton import Descended, NewtonOptions, descend
from schedules.search.refine import Split
from schedules.table import FloatArray, Table, TableError, all_fresh, common_rows

_MANY = (128,)
_MOVED = (24, 64)


def descent(done: int) -> NewtonOptions:
    """How a tail descends.

    After one evaluation its rows begin as those of a table that was searched, and one round over many seeds will do.
    After more it lies between two tables that have little to do with it: every number moves, and times with them.

    Args:
        done: evaluations that were made.
    """
    return NewtonOptions(rounds=() if done == 1 else _MOVED, many=_MANY)


def search_splice(
    begun: Table,
    done: int,
    aims: tuple[Table, Table],
    splits: tuple[Split, Split],
    options: NewtonOptions | None = None,
    *,
    found: Table | None = None,
) -> Descended:
    """The best table of a length that begins as another does.

    Args:
        begun: the table that a request has begun with.
        done: its evaluations that were made, in 1..its number - 1.
        aims: the table that the request would be given from the start, with E > `done` evaluations; and the one with
            E - (done - 1), which may be begun anew after the first. With `done` 1 they are the same.
        splits: the seeds whose errors fall, in a view that is smooth; and other seeds, for the choice.
        options: of the descent, by default as `descent` says.
        found: an earlier search's splice of the same, from which alone it goes on.

    Raises:
        TableError: tables over more than one noise, or with other rows than fully guided ones of the model's network.
        ValueError: nothing was made or is left to do, or lengths do not fit.
    """
    calibration, validation = splits
    starts = _starts(begun, done, aims) if found is None else [_found(begun, done, aims[0], found)]
    return descend(starts, calibration, validation, options or descent(done), done=done)


def resumed(begun: Table, done: int, aim: Table) -> Table:
    """The aim's rows after another table's evaluations, at times between those and the end.

    Args:
        begun: as in `search_splice`.
        done: likewise.
        aim: the table that the request would be given from the start.

    Raises:
        TableError: as in `search_splice`.
        ValueError: nothing was made, or nothing is left to do.
    """
    _check(begun, done, aim, aim.evaluations_count)
    return _joined(begun, done, aim, aim.X, resumed_times(begun.t[:done], aim.t))


def restarted(begun: Table, done: int, aim: Table) -> Table:
    """The aim's rows after another table's first evaluation; what else was made is not looked at.

    Args:
        begun: as in `search_splice`.
        done: likewise.
        aim: a table of the evaluations that are left, and the first.

    Raises:
        TableError: as in `search_splice`.
        ValueError: nothing was made, or nothing is left to do.
    """
    more = done - 1
    count = aim.evaluations_count + more
    _check(begun, done, aim, count)
    rows = np.zeros((count + 1, count + 1))
    rows[done:, :2] = aim.X[1:, :2]
    rows[done:, 2 + more :] = aim.X[1:, 2:]
    later = np.insert(aim.t, 1, np.zeros(more))
    return _joined(begun, done, aim, rows, np.append(begun.t[:done], later[done:]))


def resumed_times(made: FloatArray, aim: FloatArray) -> FloatArray:
    """Times that begin as those that were made, and go on between the aim's at even strides of its index.

    Args:
        made: falling, shape (n,).
        aim: falling, shape (E,), E > n.

    Returns:
        Falling, shape (E,).
    """
    count, grid = len(aim), np.append(aim, 0.0)
    reached = float(np.interp(-made[-1], -grid, np.arange(count + 1.0)))
    places = np.linspace(reached, count, count - len(made) + 2)[1:-1]
    return np.concatenate([made, np.interp(places, np.arange(count + 1.0), grid)])


def _starts(begun: Table, done: int, aims: tuple[Table, Table]) -> list[Table]:
    starts = [resumed(begun, done, aims[0])]
    return starts if done == 1 else [*starts, restarted(begun, done, aims[1])]


def _found(begun: Table, done: int, aim: Table, found: Table) -> Table:
    _check(begun, done, found, aim.evaluations_count)
    if found.evaluations_count != aim.evaluations_count or common_rows(found, begun) < done:
        raise ValueError(f"found: must begin with the {done} rows that were made and have as many as the aim")
    return found


def _check(begun: Table, done: int, aim: Table, count: int) -> None:
    most = min(begun.evaluations_count, count) - 1
    if not 1 <= done <= most:
        raise ValueError(f"done: must be in 1..{most}, so that something was made and something is left, is {done}")
    for name, table in (("begun", begun), ("aim", aim)):
        if table.base != ("noise",) or set(table.uncond) != {"fresh"} or table.networks:
            raise TableError(f"{name}: only tables over one noise, guided on every row, can be spliced")


def _joined(begun: Table, done: int, aim: Table, rows: FloatArray, times: FloatArray) -> Table:
    """The first rows of one table, and from x_done on other rows of another; c and w are those of its last rows."""
    joined = rows.copy()
    joined[:done] = 0.0
    joined[:done, :done] = begun.X[:done, :done]
    left = len(times) - done
    return Table(
        t=times,
        c=np.append(begun.c[:done], aim.c[-left:]),
        w=np.append(begun.w[:done], aim.w[-left:]),
        uncond=all_fresh(len(times)),
        X=joined,
    )
