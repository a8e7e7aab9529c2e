"""A training that somebody interrupts."""

from rich.progress import Progress, TaskID


class Interrupting(Progress):
    """Shows nothing, and interrupts after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(disable=True)
        self.left = steps

    def update(self, task_id: TaskID, **changes) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
